"""The hospital's own limits: the server proposes, the site accepts or refuses with a reason.

Nothing a coordinator sends can loosen these; without them any server could switch privacy off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fed_common import canonical
from fed_common.accounting import (
    MIN_NOISE_MULTIPLIER,
    Accountant,
    RdpAccountant,
    Spend,
    charged_epsilon,
)
from fed_common.budget import Budget
from fed_common.errors import ConfigError, PrivacyError
from fed_common.messages import RefusalCode, RoundPlan
from fed_common.names import Digest
from fed_common.plans import EvaluationTerms, StatisticsTerms, TrainTerms

MAX_DELTA = 1e-5


class PolicyRefusal(PrivacyError):
    """The plan asks for more than the hospital allows; the code travels to the coordinator."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"refused ({code}): {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class SitePolicy:
    """What the privacy officer allows; `epsilon` is the budget of the data set over all runs."""

    epsilon: float
    delta: float
    min_noise_multiplier: float
    min_evaluation_noise: float
    allow_statistics: bool
    min_statistics_noise: float
    max_clip_norm: float
    max_sampling_rate: float
    max_steps_per_round: int
    max_images_per_patient: int
    min_cohort: int
    min_patients: int
    allowed_models: tuple[str, ...]

    def __post_init__(self) -> None:
        # Compared so that NaN fails.
        if not 0 < self.epsilon <= 1000:
            raise ConfigError(f"policy.epsilon must be in (0, 1000], got {self.epsilon}")
        if not 0 < self.delta <= MAX_DELTA:
            raise ConfigError(f"policy.delta must be in (0, {MAX_DELTA:g}], got {self.delta}")
        for name in ("min_noise_multiplier", "min_evaluation_noise", "min_statistics_noise"):
            if not getattr(self, name) >= MIN_NOISE_MULTIPLIER:
                raise ConfigError(
                    f"policy.{name} must be at least {MIN_NOISE_MULTIPLIER}, got {getattr(self, name)}"
                )

    @property
    def digest(self) -> Digest:
        """Identify the limits."""
        return canonical.digest(self)

    def budget(self, accountants: Sequence[Accountant]) -> Budget:
        """Return the budget of the data set over all runs."""
        return Budget(epsilon=self.epsilon, delta=self.delta, accountants=tuple(accountants))

    def costliest_round(self) -> Spend:
        """Return the most that one round could ever cost: what a torn ledger line counts as."""
        training = Spend(
            noise_multiplier=self.min_noise_multiplier,
            sampling_rate=self.max_sampling_rate,
            steps=self.max_steps_per_round,
        )
        counts = Spend(
            noise_multiplier=min(self.min_evaluation_noise, self.min_statistics_noise),
            sampling_rate=1.0,
            steps=1,
        )
        return max(training, counts, key=lambda spend: RdpAccountant().epsilon([spend], self.delta))

    def refuse_weak_delta(self, patients: int) -> None:
        """Return only if `delta` still protects each of so many patients.

        Raises:
            ConfigError: delta exceeds 1 / (10 N), so a release might simply publish a patient.
        """
        if not self.delta <= 1 / (10 * patients):
            raise ConfigError(
                f"policy.delta must be at most 1/(10 x patients) = {0.1 / patients:.2g}, got {self.delta:g}"
            )

    def check(self, plan: RoundPlan) -> Spend:
        """Return what the plan would spend, if its terms are within the limits.

        Raises:
            PolicyRefusal: they aren't.
        """
        num_sites = len({site.name for site in plan.cohort})
        if num_sites < self.min_cohort:
            raise PolicyRefusal(
                "cohort-too-small", f"{num_sites} sites, the policy asks for {self.min_cohort}"
            )
        if plan.model not in self.allowed_models:
            raise PolicyRefusal(
                "model-not-allowed", f"{plan.model}; allowed: {', '.join(self.allowed_models)}"
            )
        match plan.terms:
            case TrainTerms():
                return self._check_training(plan.terms)
            case EvaluationTerms(noise_multiplier=noise):
                return _check_counts("evaluation", noise, self.min_evaluation_noise)
            case StatisticsTerms(noise_multiplier=noise):
                if not self.allow_statistics:
                    raise PolicyRefusal("statistics-not-allowed", "this site releases no statistics")
                return _check_counts("statistics", noise, self.min_statistics_noise)

    def _check_training(self, terms: TrainTerms) -> Spend:
        dp = terms.dp
        limits: tuple[tuple[bool, RefusalCode, str], ...] = (
            (
                dp.noise_multiplier >= self.min_noise_multiplier,
                "noise-below-floor",
                f"noise multiplier {dp.noise_multiplier:g} < {self.min_noise_multiplier:g}",
            ),
            (
                dp.clip_norm <= self.max_clip_norm,
                "clip-above-ceiling",
                f"clip norm {dp.clip_norm:g} > {self.max_clip_norm:g}",
            ),
            (
                dp.sampling_rate <= self.max_sampling_rate,
                "sampling-above-ceiling",
                f"sampling rate {dp.sampling_rate:g} > {self.max_sampling_rate:g}",
            ),
            (
                dp.steps <= self.max_steps_per_round,
                "steps-above-ceiling",
                f"{dp.steps} steps > {self.max_steps_per_round}",
            ),
            (
                dp.max_images_per_patient <= self.max_images_per_patient,
                "images-above-ceiling",
                f"{dp.max_images_per_patient} images per patient > {self.max_images_per_patient}",
            ),
        )
        for holds, code, detail in limits:
            if not holds:
                raise PolicyRefusal(code, detail)
        return Spend(noise_multiplier=dp.noise_multiplier, sampling_rate=dp.sampling_rate, steps=dp.steps)

    def check_budget(self, spent: Sequence[Spend], asked: Spend, accountants: Sequence[Accountant]) -> None:
        """Return only if the budget still affords `asked`; the exact boundary is allowed.

        Raises:
            PolicyRefusal: it doesn't.
        """
        after = charged_epsilon([*spent, asked], self.delta, accountants)
        if not after <= self.epsilon:
            raise PolicyRefusal(
                "budget-exhausted",
                f"epsilon would be {after:.3f} of {self.epsilon:g} at delta {self.delta:g} per patient",
            )


def _check_counts(what: str, noise: float, floor: float) -> Spend:
    """Return what one release of counts spends; one patient changes it by 1 at most."""
    if not noise >= floor:
        raise PolicyRefusal("noise-below-floor", f"{what} noise {noise:g} < {floor:g}")
    return Spend(noise_multiplier=noise, sampling_rate=1.0, steps=1)
