"""What a run is made of: the tables that federation.toml and scenario.toml share, and what they amount to."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from fed_common import canonical
from fed_common.accounting import PldAccountant
from fed_common.adversaries import Claim, MaskedSums, claims
from fed_common.config import ConfigTable
from fed_common.errors import ConfigError
from fed_common.masking.terms import MIN_MEMBERS, fewest_summed
from fed_common.models import ModelSpec, spec_for
from fed_common.names import Digest
from fed_common.plans import MAX_VIEWS, DpTerms, EvaluationTerms, SiteTerms, StatisticsTerms, TrainTerms
from fed_common.proposal import (
    EvaluationTable,
    PositiveFloat,
    PositiveInt,
    PrivacyTable,
    Proposal,
    ScheduleTable,
    StatisticsTable,
)
from fed_common.task import Task
from fed_server.averaging import Averaging


class TrainingTable(ScheduleTable):
    """How many rounds, and what a site does in one."""

    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)] = 1  # of each image (`fed_common.views`)
    averaging: Averaging = "none"
    seed: Annotated[int, Field(ge=0)] = 0  # of the first parameters, which are public


class QuorumTable(ConfigTable):
    """How many sites must answer, how long each phase and the wait for them lasts, and how often to retry."""

    sites: PositiveInt
    deadline_s: PositiveFloat = 600.0
    gather_s: Annotated[float, Field(ge=0)] = 10.0  # at the start, for those beyond the quorum
    wait_s: PositiveFloat = 3600.0
    retries: Annotated[int, Field(ge=0)] = 2


class AggregationTable(ConfigTable):
    """How the sites' updates become one: FedAvg's mean, weighted by their public size classes.

    With `masked` sums the coordinator sees no site's update; unless it says otherwise, from three sites on.
    """

    rule: Literal["mean"] = "mean"
    masked: bool | None = None

    def masks(self, num_sites: int) -> bool:
        """Tell whether the updates of so many sites are masked."""
        return num_sites >= MIN_MEMBERS if self.masked is None else self.masked


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
    aggregation: AggregationTable = field(default_factory=AggregationTable)
    statistics: StatisticsTable | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quorum.sites <= len(self.cohort):
            raise ConfigError(f"quorum.sites must be in [1, {len(self.cohort)}], got {self.quorum.sites}")
        names = [site.name for site in self.cohort]
        if len(set(names)) != len(names):
            raise ConfigError(f"sites must have different names, got {', '.join(names)}")
        if self.masked and len(names) < MIN_MEMBERS:
            raise ConfigError(
                f"aggregation.masked needs at least {MIN_MEMBERS} sites, got {len(names)}: "
                "of a sum of two, each knows the other's part"
            )

    @property
    def masked(self) -> bool:
        """Tell whether updates are masked."""
        return self.aggregation.masks(len(self.cohort))

    def claim_alone(self) -> Claim | None:
        """Return the claim against the coordinator alone, None where it is no other than that against all.

        Raises:
            ConfigError: no noise keeps the run within its epsilon.
        """
        if not self.masked:
            return None
        proposal = self.proposal
        training, *counts = proposal.spends(proposal.noise_multiplier())
        sums = MaskedSums(
            honest_sites=fewest_summed(len(self.cohort)), steps_per_round=self.training.steps_per_round
        )
        claimed = claims([training], self.privacy.delta, (PldAccountant(),), masked=sums, apart=counts)
        return claimed[1] if len(claimed) > 1 else None

    @property
    def quorum_in_force(self) -> QuorumTable:
        """Return the quorum, raised to what a masked sum needs."""
        if not self.masked:
            return self.quorum
        return self.quorum.model_copy(update={"sites": max(self.quorum.sites, MIN_MEMBERS)})

    @property
    def model(self) -> ModelSpec:
        """Return the network that the task needs."""
        return spec_for(self.task)

    @property
    def digest(self) -> Digest:
        """Identify the settings; a run resumes only with the ones it began with."""
        tables: list[ConfigTable] = [self.training, self.privacy, self.evaluation, self.aggregation]
        if self.statistics is not None:
            tables.append(self.statistics)
        facts = _SettingsFacts(
            task=self.task.digest,
            model=self.model.fingerprint,
            cohort=self.cohort,
            tables=tuple(table.model_dump_json() for table in tables),
        )
        return canonical.digest(facts)

    @property
    def proposal(self) -> Proposal:
        """Return all that the run asks of a site, and so what it costs there."""
        return Proposal(
            schedule=self.training,
            privacy=self.privacy,
            evaluation=self.evaluation,
            statistics=self.statistics,
        )

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
        return EvaluationTerms(noise_multiplier=self.proposal.evaluation_noise, bins=self.evaluation.bins)

    def train_terms(self) -> TrainTerms:
        """Return what one round asks of a site, with the noise calibrated once for the whole run.

        Raises:
            ConfigError: no noise keeps the run within its epsilon.
        """
        return TrainTerms(
            dp=DpTerms(
                noise_multiplier=self.proposal.noise_multiplier(),
                clip_norm=self.privacy.clip_norm,
                sampling_rate=self.privacy.sampling_rate,
                steps=self.training.steps_per_round,
                max_images_per_patient=self.privacy.max_images_per_patient,
            ),
            learning_rate=self.training.learning_rate,
            momentum=self.training.momentum,
            views=self.training.views,
            update_clip=self.privacy.update_clip,
        )


@dataclass(frozen=True, kw_only=True)
class _SettingsFacts:
    task: Digest
    model: str
    cohort: tuple[SiteTerms, ...]
    tables: tuple[str, ...]
