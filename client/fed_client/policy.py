"""The hospital's own limits: the server proposes, the site accepts, tightens or refuses with a reason.

Nothing a coordinator sends can loosen these; without them any server could switch privacy off.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from fed_common import canonical
from fed_common.accounting import (
    ACCOUNTANT_TOLERANCE,
    MIN_NOISE_MULTIPLIER,
    Accountant,
    RdpAccountant,
    Spend,
    charged_epsilon,
    merge,
)
from fed_common.budget import Budget
from fed_common.errors import ConfigError, PrivacyError
from fed_common.ledger_record import Unit
from fed_common.messages import RefusalCode, RoundPlan
from fed_common.names import Digest
from fed_common.plans import DpTerms, EvaluationTerms, StatisticsTerms, Terms, TrainTerms
from fed_common.tightening import Tightened

MAX_DELTA = 1e-5

# Whether the limit holds, the code of its refusal, and the words for a person.
_Limit = tuple[bool, RefusalCode, str]


class PolicyRefusal(PrivacyError):
    """The plan asks for more than the hospital allows; the code travels to the coordinator."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"refused ({code}): {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a site will do about a plan: its terms, or stricter ones of its own, and what they spend."""

    terms: Terms
    spends: tuple[Spend, ...]
    tightened: Tightened | None


@dataclass(frozen=True, kw_only=True)
class SitePolicy:
    """What the privacy officer allows; `epsilon` is the budget of the data set over all runs.

    `peers` are the fingerprints, as they are read over the phone, of the hospitals with which this one masks
    its updates; with `require_masks` it sends no other updates.
    `beyond_limits` says what becomes of a plan that asks for more: refused, or answered with stricter terms.
    """

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
    peers: tuple[str, ...] = ()
    require_masks: bool = False
    beyond_limits: Literal["refuse", "tighten"] = "refuse"
    allowed_models: tuple[str, ...]

    def __post_init__(self) -> None:
        # Compared so that NaN fails.
        if not 0 < self.epsilon <= 1000:
            raise ConfigError(f"policy.epsilon must be in (0, 1000], got {self.epsilon}")
        if not 0 < self.delta <= MAX_DELTA:
            raise ConfigError(f"policy.delta must be in (0, {MAX_DELTA:g}], got {self.delta}")
        for peer in self.peers:
            if not re.fullmatch(r"[0-9a-f]{32}", peer):
                raise ConfigError(f"policy.peers must be of 32 hexadecimal digits each, got {peer[:80]!r}")
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

    def admit(self, plan: RoundPlan, *, patients: int) -> Admission:
        """Return what to do about the plan; `patients` is the site's public size class.

        Raises:
            PolicyRefusal: its terms are beyond the limits, and can't or mustn't be tightened.
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
        if isinstance(plan.terms, StatisticsTerms) and not self.allow_statistics:
            raise PolicyRefusal("statistics-not-allowed", "this site releases no statistics")
        beyond = self._beyond(plan.terms)
        if not beyond:
            return Admission(terms=plan.terms, spends=_spends(plan.terms), tightened=None)
        if self.beyond_limits == "refuse":
            raise beyond[0]
        stricter = self._tightened(plan.terms)
        # Not assumed: a limit that is no number tightens nothing.
        for refusal in self._beyond(stricter):
            raise refusal
        if isinstance(stricter, TrainTerms) and not stricter.dp.sampling_rate * patients >= 1:
            raise PolicyRefusal("sampling-above-ceiling", "a step at the site's own rate would see nobody")
        tightened = Tightened(terms=stricter, codes=tuple(refusal.code for refusal in beyond))
        return Admission(terms=stricter, spends=_spends(stricter), tightened=tightened)

    def _beyond(self, terms: Terms) -> list[PolicyRefusal]:
        """Return a refusal for each limit that the terms exceed."""
        match terms:
            case TrainTerms():
                limits = self._training_limits(terms)
            case EvaluationTerms(noise_multiplier=noise, fine_tuning=fine_tuning):
                limits = (
                    _noise_limit("evaluation noise", noise, self.min_evaluation_noise),
                    *(self._training_limits(fine_tuning) if fine_tuning else ()),
                )
            case StatisticsTerms(noise_multiplier=noise):
                limits = (_noise_limit("statistics noise", noise, self.min_statistics_noise),)
        return [PolicyRefusal(code, detail) for holds, code, detail in limits if not holds]

    def _training_limits(self, terms: TrainTerms) -> tuple[_Limit, ...]:
        dp = terms.dp
        return (
            _noise_limit("noise multiplier", dp.noise_multiplier, self.min_noise_multiplier),
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
                terms.private_steps <= self.max_steps_per_round,
                "steps-above-ceiling",
                f"{terms.private_steps} steps > {self.max_steps_per_round}",
            ),
            (
                dp.max_images_per_patient <= self.max_images_per_patient,
                "images-above-ceiling",
                f"{dp.max_images_per_patient} images per patient > {self.max_images_per_patient}",
            ),
        )

    def _tightened(self, terms: Terms) -> Terms:
        """Return the terms at this site's limits wherever they are beyond them."""
        match terms:
            case TrainTerms():
                return self._tightened_training(terms)
            case EvaluationTerms(fine_tuning=fine_tuning):
                return replace(
                    terms,
                    noise_multiplier=max(terms.noise_multiplier, self.min_evaluation_noise),
                    fine_tuning=self._tightened_training(fine_tuning) if fine_tuning else None,
                )
            case StatisticsTerms():
                return replace(terms, noise_multiplier=max(terms.noise_multiplier, self.min_statistics_noise))

    def _tightened_training(self, terms: TrainTerms) -> TrainTerms:
        dp = terms.dp
        stricter = DpTerms(
            noise_multiplier=max(dp.noise_multiplier, self.min_noise_multiplier),
            clip_norm=min(dp.clip_norm, self.max_clip_norm),
            sampling_rate=min(dp.sampling_rate, self.max_sampling_rate),
            steps=min(dp.steps, self.max_steps_per_round),
            max_images_per_patient=min(dp.max_images_per_patient, self.max_images_per_patient),
        )
        return replace(terms, dp=stricter)

    def check_budget(
        self, spent: Sequence[Spend], asked: Sequence[Spend], accountants: Sequence[Accountant], *, unit: Unit
    ) -> None:
        """Return only if the budget of a `unit` still affords `asked`; the exact boundary is allowed.

        While much of it is left, Renyi accounting says so; near its end `accountants` do (decision 0034).

        Raises:
            PolicyRefusal: it doesn't.
        """
        spends = merge([*spent, *asked])
        with suppress(PrivacyError):
            if RdpAccountant().epsilon(spends, self.delta) <= self.epsilon - ACCOUNTANT_TOLERANCE:
                return
        after = charged_epsilon(spends, self.delta, accountants)
        if not after <= self.epsilon:
            raise PolicyRefusal(
                "budget-exhausted",
                f"epsilon would be {after:.3f} of {self.epsilon:g} at delta {self.delta:g} per {unit}",
            )


def _noise_limit(what: str, noise: float, floor: float) -> _Limit:
    return noise >= floor, "noise-below-floor", f"{what} {noise:g} < {floor:g}"


def _spends(terms: Terms) -> tuple[Spend, ...]:
    """Return what the terms spend; one patient changes released counts by 1 at most."""
    match terms:
        case TrainTerms():
            return (_steps_of(terms),)
        case EvaluationTerms(noise_multiplier=noise, fine_tuning=TrainTerms() as fine_tuning):
            return (_steps_of(fine_tuning), Spend(noise_multiplier=noise, sampling_rate=1.0, steps=1))
        case EvaluationTerms(noise_multiplier=noise) | StatisticsTerms(noise_multiplier=noise):
            return (Spend(noise_multiplier=noise, sampling_rate=1.0, steps=1),)


def _steps_of(terms: TrainTerms) -> Spend:
    dp = terms.dp
    return Spend(
        noise_multiplier=dp.noise_multiplier, sampling_rate=dp.sampling_rate, steps=terms.private_steps
    )
