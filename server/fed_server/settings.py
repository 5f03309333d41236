"""What a run is made of: the tables that federation.toml and scenario.toml share, and what they amount to."""

from dataclasses import dataclass, field, replace
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
from fed_common.personal import PersonalTable, Surroundings
from fed_common.plans import (
    MAX_VIEWS,
    DpTerms,
    EvaluationTerms,
    SiteTerms,
    StatisticsTerms,
    TrainTerms,
    UpdateEncoding,
)
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
from fed_server.algorithms import Algorithm, Circumstances, FedAvg
from fed_server.averaging import Averaging

# Nobody throws a model away alone, however large the hospital.
MIN_VOTERS = 2


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
    """How the sites' updates become one: FedAvg's mean, or a rule that some `dishonest` sites can't bend.

    With `masked` sums the coordinator sees no site's update; unless it says otherwise, from three sites on
    where the rule is the mean. With `vote`, sites that find a candidate worse have it dropped.
    """

    rule: Literal["mean", "median", "trimmed-mean", "krum", "multi-krum", "norm-bounded-mean"] = "mean"
    dishonest: PositiveInt | None = None
    masked: bool | None = None
    vote: bool = False

    def masks(self, num_sites: int) -> bool:
        """Tell whether the updates of so many sites are masked."""
        return self.rule == "mean" and num_sites >= MIN_MEMBERS if self.masked is None else self.masked

    @property
    def num_dishonest(self) -> int:
        """Return how many dishonest sites a robust rule must withstand, one unless more are named."""
        return self.dishonest or 1

    @property
    def fewest_sites(self) -> int:
        """Return how many answers it takes to outvote the dishonest ones; `robust` has the sources."""
        match self.rule:
            case "mean":
                return 1
            case "median" | "trimmed-mean" | "norm-bounded-mean":
                return 2 * self.num_dishonest + 1
            case "krum" | "multi-krum":
                return 2 * self.num_dishonest + 3

    def refuse_contradictions(self, num_sites: int) -> None:
        """Return only if so many sites can be aggregated as the table says.

        Raises:
            ConfigError: they can't.
        """
        if self.masks(num_sites) and self.rule != "mean":
            raise ConfigError(
                f'aggregation.rule "{self.rule}" and masked = true exclude each other: a robust rule '
                "compares the sites' updates, which masks hide; allowed are a robust rule or masks"
            )
        if self.masks(num_sites) and num_sites < MIN_MEMBERS:
            raise ConfigError(
                f"aggregation.masked needs at least {MIN_MEMBERS} sites, got {num_sites}: "
                "of a sum of two, each knows the other's part"
            )
        if self.rule == "mean" and self.dishonest is not None:
            raise ConfigError("aggregation.dishonest needs a robust rule: one site can move a mean anywhere")
        if num_sites < self.fewest_sites:
            raise ConfigError(
                f'aggregation.rule "{self.rule}" needs at least {self.fewest_sites} sites against '
                f"{self.num_dishonest} dishonest, got {num_sites}"
            )
        if self.vote and num_sites < MIN_VOTERS:
            raise ConfigError(f"aggregation.vote needs at least {MIN_VOTERS} sites, got {num_sites}")


class CommunicationTable(ConfigTable):
    """How the sites' updates are written when they travel: exact, or in an eighth of the bytes, rounded."""

    updates: UpdateEncoding = "fixed-point"

    def refuse_masked(self, *, masked: bool) -> None:
        """Return only if updates that are `masked`, or not, can be written so.

        Raises:
            ConfigError: they can't.
        """
        if masked and self.updates != "fixed-point":
            raise ConfigError(
                f'communication.updates "{self.updates}" and masked sums exclude each other: each block of '
                "each site has a scale of its own, and numbers of different scales don't add up under masks; "
                'allowed are "fixed-point" or aggregation.masked = false'
            )


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
    algorithm: Algorithm = field(default_factory=FedAvg)
    personal: PersonalTable | None = None
    communication: CommunicationTable = field(default_factory=CommunicationTable)

    def __post_init__(self) -> None:
        if not 1 <= self.quorum.sites <= len(self.cohort):
            raise ConfigError(f"quorum.sites must be in [1, {len(self.cohort)}], got {self.quorum.sites}")
        names = [site.name for site in self.cohort]
        if len(set(names)) != len(names):
            raise ConfigError(f"sites must have different names, got {', '.join(names)}")
        self.aggregation.refuse_contradictions(len(names))
        self.communication.refuse_masked(masked=self.masked)
        self.algorithm.refuse_contradictions(
            Circumstances(
                steps_per_round=self.training.steps_per_round,
                learning_rate=self.training.learning_rate,
                momentum=self.training.momentum,
                rule=self.aggregation.rule,
                vote=self.aggregation.vote,
            )
        )
        if self.personal is not None:
            self.personal.refuse_contradictions(self._surroundings)
        if self.aggregation.vote and self.proposal.num_evaluations < 2:
            raise ConfigError(
                "aggregation.vote compares evaluations, and needs two of them: evaluation.every must be "
                f"below {self.training.rounds}, got {self.evaluation.every}"
            )

    @property
    def masked(self) -> bool:
        """Tell whether updates are masked."""
        return self.aggregation.masks(len(self.cohort))

    @property
    def _surroundings(self) -> Surroundings:
        training = self.training
        return Surroundings(
            model=self.model,
            steps_per_round=training.steps_per_round,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
            averaged=training.averaging != "none",
            vote=self.aggregation.vote,
            algorithm=self.algorithm.name,
        )

    def claim_alone(self) -> Claim | None:
        """Return the claim against the coordinator alone, None where it is no other than that against all.

        Raises:
            ConfigError: no noise keeps the run within its epsilon.
        """
        proposal = self.proposal
        if not self.masked or not proposal.is_summed_once:
            return None
        training, *counts = proposal.spends(proposal.noise_multiplier())
        sums = MaskedSums(
            honest_sites=fewest_summed(len(self.cohort)), steps_per_round=self.training.steps_per_round
        )
        claimed = claims([training], self.privacy.delta, (PldAccountant(),), masked=sums, apart=counts)
        return claimed[1] if len(claimed) > 1 else None

    @property
    def quorum_in_force(self) -> QuorumTable:
        """Return the quorum, raised to what a masked sum or a robust rule needs."""
        fewest = MIN_MEMBERS if self.masked else self.aggregation.fewest_sites
        return self.quorum.model_copy(update={"sites": max(self.quorum.sites, fewest)})

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
        if self.algorithm != FedAvg():
            tables.append(self.algorithm)
        if self.personal is not None:
            tables.append(self.personal)
        if self.communication != CommunicationTable():
            tables.append(self.communication)
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
            personal=self.personal,
            algorithm=self.algorithm.name,
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

    def evaluation_terms(self, number: int, terms: TrainTerms) -> EvaluationTerms:
        """Return what the evaluation after round `number` asks of a site that trains by `terms`."""
        last_steps = self.personal.last_steps if self.personal and number == self.training.rounds else 0
        fine_tuning = (
            replace(terms, dp=replace(terms.dp, steps=last_steps), method=None) if last_steps else None
        )
        return EvaluationTerms(
            noise_multiplier=self.proposal.evaluation_noise,
            bins=self.evaluation.bins,
            normalisation=terms.normalisation,
            personal=terms.personal,
            fine_tuning=fine_tuning,
        )

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
            method=self.algorithm.local_method(),
            personal=self.personal.terms() if self.personal else None,
            encoding=self.communication.updates,
        )


@dataclass(frozen=True, kw_only=True)
class _SettingsFacts:
    task: Digest
    model: str
    cohort: tuple[SiteTerms, ...]
    tables: tuple[str, ...]
