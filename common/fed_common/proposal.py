"""What a run would cost a site's patients, from the tables of federation.toml that privacy depends on.

Both sides read it the same way: the coordinator to calibrate the noise, a site to know what joining costs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fed_common.accounting import (
    ACCOUNTANT_TOLERANCE,
    MIN_NOISE_MULTIPLIER,
    Accountant,
    PldAccountant,
    Spend,
    calibrate_noise,
    charged_epsilon,
    gaussian_noise,
)
from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.personal import PersonalChoice, PersonalTable

# What sites ask of counts at least, unless their policies say otherwise.
_USUAL_FLOOR = 1.0

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class ScheduleTable(ConfigTable):
    """How many rounds, and how many private steps a site takes in one."""

    rounds: Annotated[int, Field(ge=1, le=9999)]
    steps_per_round: PositiveInt


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
    """How often the sites measure the model, and how much noise hides each patient in the counts.

    Unless the noise is given, it follows from `share`: how much of the run's budget all its evaluations
    together may take. The rarer they are, the more each tells.
    """

    every: PositiveInt = 5
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    noise_multiplier: Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER)] | None = None
    bins: Annotated[int, Field(ge=2, le=1000, multiple_of=2)] = 20


class StatisticsTable(ConfigTable):
    """How much noise hides each patient in the counts before the first round, and in how many greys."""

    noise_multiplier: Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER)] = 8.0
    bins: Annotated[int, Field(ge=2, le=64)] = 16


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All releases that a run asks of a site."""

    schedule: ScheduleTable
    privacy: PrivacyTable
    evaluation: EvaluationTable
    statistics: StatisticsTable | None = None
    personal: PersonalTable | None = None
    algorithm: str = "fedavg"

    @property
    def is_summed_once(self) -> bool:
        """Tell whether each step of a site is in one sum of all sites', and what is seen of it nowhere else.

        What is personal is in no sum: the counts that measure it tell of steps with one site's noise. With
        SCAFFOLD a site's earlier step is in a later sum once more, perhaps with other sites' noise.
        """
        return self.personal is None and self.algorithm != "scaffold"

    def evaluates_after(self, round_number: int) -> bool:
        """Tell whether the sites measure the model of this round; the last one always is."""
        return round_number % self.evaluation.every == 0 or round_number == self.schedule.rounds

    @property
    def evaluation_noise(self) -> float:
        """Return the noise of each evaluation's counts, in patients.

        Gaussian releases add up by the squares of 1 / noise, so that k of them with sqrt(k / share) times the
        noise of a single one that takes everything take `share` of it.
        """
        if self.evaluation.noise_multiplier is not None:
            return self.evaluation.noise_multiplier
        everything = gaussian_noise(epsilon=self.privacy.epsilon, delta=self.privacy.delta)
        noise = everything * math.sqrt(self.num_evaluations / self.evaluation.share)
        return math.ceil(1000 * max(noise, _USUAL_FLOOR)) / 1000

    @property
    def num_evaluations(self) -> int:
        """Return how often the sites measure the model."""
        return sum(self.evaluates_after(number) for number in range(1, self.schedule.rounds + 1))

    def training(self, noise_multiplier: float, *, rounds: int | None = None) -> Spend:
        """Return the training of all rounds, or of so many, with this noise; personal models' is included."""
        steps = self.schedule.steps_per_round
        if self.personal is not None:
            steps += self.personal.extra_steps(steps)
        return Spend(
            noise_multiplier=noise_multiplier,
            sampling_rate=self.privacy.sampling_rate,
            steps=steps * (rounds or self.schedule.rounds),
        )

    def evaluations(self) -> Spend:
        """Return all evaluations of the run."""
        return Spend(noise_multiplier=self.evaluation_noise, sampling_rate=1.0, steps=self.num_evaluations)

    def gathering(self) -> Spend | None:
        """Return the release of statistics, None if none is asked for."""
        if self.statistics is None:
            return None
        return Spend(noise_multiplier=self.statistics.noise_multiplier, sampling_rate=1.0, steps=1)

    def fine_tuning(self, noise_multiplier: float) -> Spend | None:
        """Return the training of the finished model at each site, None if none is asked for."""
        if self.personal is None or not self.personal.last_steps:
            return None
        return Spend(
            noise_multiplier=noise_multiplier,
            sampling_rate=self.privacy.sampling_rate,
            steps=self.personal.last_steps,
        )

    def spends(self, noise_multiplier: float) -> tuple[Spend, ...]:
        """Return everything that the run releases with this training noise."""
        others = (self.gathering(), self.fine_tuning(noise_multiplier))
        return (
            self.training(noise_multiplier),
            self.evaluations(),
            *(spend for spend in others if spend is not None),
        )

    def epsilon(
        self, noise_multiplier: float, accountants: Sequence[Accountant] = (PldAccountant(),)
    ) -> float:
        """Return what the whole run, all its releases, would spend with this training noise."""
        return charged_epsilon(self.spends(noise_multiplier), self.privacy.delta, accountants)

    def noise_multiplier(self) -> float:
        """Return the training noise, calibrated once for the whole run unless it is given.

        Raises:
            ConfigError: no noise keeps the run within its epsilon, or the given one doesn't.
        """
        given, limit = self.privacy.noise_multiplier, self.privacy.epsilon
        if given is None:
            # The sites charge the larger of two accountants; this side knows one of them.
            return calibrate_noise(self.epsilon, epsilon=limit - ACCOUNTANT_TOLERANCE)
        if not self.epsilon(given) <= limit:
            raise ConfigError(
                f"privacy.noise_multiplier {given:g} spends epsilon {self.epsilon(given):.3f}, "
                f"privacy.epsilon allows {limit:g}"
            )
        return given


class _ProposedSchedule(ScheduleTable, extra="ignore"):
    """The schedule in a table that holds more."""


class _ProposedAlgorithm(ConfigTable, extra="ignore"):
    name: str = "fedavg"


class _ProposedSite(ConfigTable, extra="ignore"):
    name: str
    patients: PositiveInt


class _ProposalFile(ConfigTable, extra="ignore"):
    training: _ProposedSchedule
    privacy: PrivacyTable
    evaluation: EvaluationTable = EvaluationTable()
    statistics: StatisticsTable | None = None
    personal: PersonalChoice | None = None
    algorithm: _ProposedAlgorithm = _ProposedAlgorithm()
    sites: tuple[_ProposedSite, ...] = ()


def load_proposal(path: Path) -> tuple[Proposal, Mapping[str, int]]:
    """Return what a federation.toml or scenario.toml asks of a site, and the patients of each site it names.

    No other file that it names is read, so that a site can judge what it was sent.

    Raises:
        ConfigError: the file is missing, or one of these tables says something that is not allowed.
    """
    file = load_config(path, _ProposalFile)
    proposal = Proposal(
        schedule=ScheduleTable(rounds=file.training.rounds, steps_per_round=file.training.steps_per_round),
        privacy=file.privacy,
        evaluation=file.evaluation,
        statistics=file.statistics,
        personal=file.personal,
        algorithm=file.algorithm.name,
    )
    return proposal, {site.name: site.patients for site in file.sites}
