"""What a run is made of: the tables that federation.toml and scenario.toml share, and what they amount to."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fed_common import canonical
from fed_common.accounting import (
    ACCOUNTANT_TOLERANCE,
    MIN_NOISE_MULTIPLIER,
    PldAccountant,
    Spend,
    calibrate_noise,
    charged_epsilon,
)
from fed_common.config import ConfigTable
from fed_common.errors import ConfigError
from fed_common.models import ModelSpec, spec_for
from fed_common.names import Digest
from fed_common.plans import DpTerms, EvaluationTerms, SiteTerms, StatisticsTerms, TrainTerms
from fed_common.task import Task

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class TrainingTable(ConfigTable):
    """How many rounds, and what a site does in one."""

    rounds: Annotated[int, Field(ge=1, le=9999)]
    steps_per_round: PositiveInt
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0  # of the first parameters, which are public


class PrivacyTable(ConfigTable):
    """What the coordinator proposes; each site holds it against its own policy.

    `epsilon` covers the whole run, its evaluations and statistics included. The noise follows from it unless
    `noise_multiplier` is given, and then epsilon must still hold.
    """

    epsilon: PositiveFloat
    delta: Annotated[float, Field(gt=0, le=1e-5)] = 1e-5
    clip_norm: PositiveFloat = 1.0
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    max_images_per_patient: PositiveInt = 4
    update_clip: PositiveFloat = 10.0
    noise_multiplier: Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER)] | None = None


class EvaluationTable(ConfigTable):
    """How often the sites measure the model, and how much noise hides each patient in the counts."""

    every: PositiveInt = 5
    noise_multiplier: Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER)] = 4.0
    bins: Annotated[int, Field(ge=2, le=1000, multiple_of=2)] = 10


class StatisticsTable(ConfigTable):
    """How much noise hides each patient in the counts before the first round, and in how many greys."""

    noise_multiplier: Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER)] = 8.0
    bins: Annotated[int, Field(ge=2, le=64)] = 16


class QuorumTable(ConfigTable):
    """How many sites must answer, how long each phase and the wait for them lasts, and how often to retry."""

    sites: PositiveInt
    deadline_s: PositiveFloat = 600.0
    gather_s: Annotated[float, Field(ge=0)] = 10.0  # at the start, for those beyond the quorum
    wait_s: PositiveFloat = 3600.0
    retries: Annotated[int, Field(ge=0)] = 2


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides what a run computes; its digest is in every manifest."""

    name: str
    task: Task
    cohort: tuple[SiteTerms, ...]
    training: TrainingTable
    privacy: PrivacyTable
    evaluation: EvaluationTable
    quorum: QuorumTable
    statistics: StatisticsTable | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quorum.sites <= len(self.cohort):
            raise ConfigError(f"quorum.sites must be in [1, {len(self.cohort)}], got {self.quorum.sites}")
        names = [site.name for site in self.cohort]
        if len(set(names)) != len(names):
            raise ConfigError(f"sites must have different names, got {', '.join(names)}")

    @property
    def model(self) -> ModelSpec:
        """Return the network that the task needs."""
        return spec_for(self.task)

    @property
    def digest(self) -> Digest:
        """Identify the settings; a run resumes only with the ones it began with."""
        tables: list[ConfigTable] = [self.training, self.privacy, self.evaluation]
        if self.statistics is not None:
            tables.append(self.statistics)
        facts = _SettingsFacts(
            task=self.task.digest,
            model=self.model.fingerprint,
            cohort=self.cohort,
            tables=tuple(table.model_dump_json() for table in tables),
        )
        return canonical.digest(facts)

    def statistics_terms(self) -> StatisticsTerms | None:
        """Return what is asked of a site before the first round, None if nothing is."""
        if self.statistics is None:
            return None
        return StatisticsTerms(
            noise_multiplier=self.statistics.noise_multiplier,
            classes=len(self.task.classes),
            several_labels=self.task.multi_label,
            bins=self.statistics.bins,
        )

    def evaluation_terms(self) -> EvaluationTerms:
        """Return what one evaluation asks of a site."""
        return EvaluationTerms(noise_multiplier=self.evaluation.noise_multiplier, bins=self.evaluation.bins)

    def evaluates_after(self, round_number: int) -> bool:
        """Tell whether the sites measure the model of this round; the last one always is."""
        return round_number % self.evaluation.every == 0 or round_number == self.training.rounds

    def train_terms(self) -> TrainTerms:
        """Return what one round asks of a site, with the noise calibrated once for the whole run.

        Raises:
            ConfigError: no noise keeps the run within its epsilon.
        """
        noise = self.privacy.noise_multiplier
        if noise is None:
            # The sites charge the larger of two accountants; this side knows one of them.
            noise = calibrate_noise(self.epsilon, epsilon=self.privacy.epsilon - ACCOUNTANT_TOLERANCE)
        elif not self.epsilon(noise) <= self.privacy.epsilon:
            raise ConfigError(
                f"privacy.noise_multiplier {noise:g} spends epsilon {self.epsilon(noise):.3f}, "
                f"privacy.epsilon allows {self.privacy.epsilon:g}"
            )
        return TrainTerms(
            dp=DpTerms(
                noise_multiplier=noise,
                clip_norm=self.privacy.clip_norm,
                sampling_rate=self.privacy.sampling_rate,
                steps=self.training.steps_per_round,
                max_images_per_patient=self.privacy.max_images_per_patient,
            ),
            learning_rate=self.training.learning_rate,
            momentum=self.training.momentum,
            update_clip=self.privacy.update_clip,
        )

    def epsilon(self, noise_multiplier: float) -> float:
        """Return what the whole run, all its releases, would spend with this training noise."""
        rounds = range(1, self.training.rounds + 1)
        training = Spend(
            noise_multiplier=noise_multiplier,
            sampling_rate=self.privacy.sampling_rate,
            steps=self.training.steps_per_round * self.training.rounds,
        )
        evaluations = Spend(
            noise_multiplier=self.evaluation.noise_multiplier,
            sampling_rate=1.0,
            steps=sum(self.evaluates_after(number) for number in rounds),
        )
        spends = [training, evaluations]
        if self.statistics is not None:
            noise = self.statistics.noise_multiplier
            spends.append(Spend(noise_multiplier=noise, sampling_rate=1.0, steps=1))
        return charged_epsilon(spends, self.privacy.delta, (PldAccountant(),))


@dataclass(frozen=True, kw_only=True)
class _SettingsFacts:
    task: Digest
    model: str
    cohort: tuple[SiteTerms, ...]
    tables: tuple[str, ...]
