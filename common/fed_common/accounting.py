"""Facts about releases, and accountants that say what they cost together.

A `Spend` is what happened to the patients; epsilon is an interpretation of it and is recomputed, never
stored as the truth (privacy rules 5 and 8).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Protocol

from fed_common.errors import ConfigError, PrivacyError

# dp-accounting and scipy are imported where they are used: they take a second, and most commands do without.
if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

# The two tight accountants agree within this on every golden value (privacy.md, rule 8).
ACCOUNTANT_TOLERANCE = 0.02

# How finely losses are discretised, always upwards. Five times finer takes five times as long for 0.0005 of
# epsilon; a mixture takes ten times as long as one Gaussian, for 0.005.
_FINE, _COARSE = 5e-4, 5e-3

# Less noise protects nobody, and the tight accountants take minutes to say so.
MIN_NOISE_MULTIPLIER = 0.3


@dataclass(frozen=True, kw_only=True)
class Spend:
    """`steps` releases of a Gaussian sum over Poisson-sampled patients.

    The noise's standard deviation is `noise_multiplier` times what one draw can change. A patient drawn as a
    whole is one draw. Where images are drawn singly, each by a coin and clipped for itself, a patient of k
    images is `draws_per_patient` = k draws, and pays far more (privacy rule 3).
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    draws_per_patient: int = 1

    def __post_init__(self) -> None:
        # Compared so that NaN fails; a noise of 1e9 would be a forged, free release.
        if not 0 < self.noise_multiplier <= 1e4:
            raise PrivacyError(f"noise_multiplier must be in (0, 1e4], got {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling_rate must be in (0, 1], got {self.sampling_rate}")
        if not 1 <= self.steps <= 10**7:
            raise PrivacyError(f"steps must be in [1, 1e7], got {self.steps}")
        if not 1 <= self.draws_per_patient <= 1000:
            raise PrivacyError(f"draws_per_patient must be in [1, 1000], got {self.draws_per_patient}")


class Accountant(Protocol):
    """Turns facts into an upper bound on epsilon."""

    @property
    def name(self) -> str:
        """Name the accountant in privacy statements."""
        ...

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        """Return epsilon of all `spends` together at `delta`.

        Raises:
            PrivacyError: this accountant can't judge them.
        """
        ...


@dataclass(frozen=True)
class PldAccountant:
    """Privacy loss distributions of Google's dp-accounting: tight."""

    name: str = "dp-accounting PLD"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        """Return epsilon by composing discretised privacy loss distributions."""
        # Only distributions of equal steps can be composed.
        interval = _FINE if all(spend.draws_per_patient == 1 for spend in spends) else _COARSE
        steps = (_one_step(replace(s, steps=1), interval).self_compose(s.steps) for s in spends)
        composed = reduce(lambda one, other: one.compose(other), steps)
        return checked_epsilon(float(composed.get_epsilon_for_delta(delta)), accountant=self.name)


@dataclass(frozen=True)
class RdpAccountant:
    """Renyi accounting: 8-14 % higher, but a sum of one vector per mechanism, without numerical failures."""

    name: str = "RDP"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        """Return epsilon by adding Renyi divergences."""
        from dp_accounting.rdp import compute_epsilon  # noqa: PLC0415

        from fed_common import renyi  # noqa: PLC0415

        total = sum(
            s.steps * renyi.divergences(s.noise_multiplier, s.sampling_rate, s.draws_per_patient)
            for s in spends
        )
        epsilon, _ = compute_epsilon(renyi.ORDERS, total, delta)
        return checked_epsilon(float(epsilon), accountant=self.name)


def charged_epsilon(spends: Sequence[Spend], delta: float, accountants: Sequence[Accountant]) -> float:
    """Return the largest epsilon of `accountants`; where one fails, Renyi accounting stands in.

    Raises:
        ConfigError: `delta` is not a probability that protects anyone.
        PrivacyError: no accountant can judge these releases.
    """
    if not 0 < delta < 0.5:
        raise ConfigError(f"delta must be in (0, 0.5), got {delta}")
    if not spends:
        return 0.0
    return _charged_epsilon(merge(spends), delta, tuple(accountants))


@lru_cache(maxsize=512)
def _charged_epsilon(spends: tuple[Spend, ...], delta: float, accountants: tuple[Accountant, ...]) -> float:
    try:
        return max(accountant.epsilon(spends, delta) for accountant in accountants)
    except PrivacyError:
        return RdpAccountant().epsilon(spends, delta)


def merge(spends: Sequence[Spend]) -> tuple[Spend, ...]:
    """Add up equal mechanisms, and all that sample nobody: the composition is the same, far cheaper to judge.

    Gaussian mechanisms of noise s compose to one of noise 1 / sqrt(sum of 1 / s^2).

    Source: Dong, Roth and Su, "Gaussian Differential Privacy" (2022), corollary 3.3.
    """
    steps: Counter[Spend] = Counter()
    precision = 0.0
    # A run repeats itself: what is equal is counted before it is looked at.
    for spend, times in Counter(spends).items():
        if spend.sampling_rate == 1 and spend.draws_per_patient == 1:
            precision += times * spend.steps / spend.noise_multiplier**2
        else:
            steps[replace(spend, steps=1)] += times * spend.steps
    merged = [replace(mechanism, steps=count) for mechanism, count in steps.items()]
    if precision:
        merged.append(Spend(noise_multiplier=precision**-0.5, sampling_rate=1.0, steps=1))
    return tuple(sorted(merged, key=lambda s: (s.noise_multiplier, s.sampling_rate, s.draws_per_patient)))


def calibrate_noise(
    epsilon_of: Callable[[float], float],
    *,
    epsilon: float,
    low: float = MIN_NOISE_MULTIPLIER,
    high: float = 200.0,
) -> float:
    """Return the smallest noise multiplier, rounded up to 3 decimals, that keeps `epsilon_of` in bounds.

    Raises:
        ConfigError: even the largest noise doesn't.
    """
    if not epsilon_of(high) <= epsilon:
        raise ConfigError(f"epsilon {epsilon:g} can't be reached with any noise multiplier up to {high:g}")
    while high / low > 1.002:  # each trial costs up to a second; 0.2 % of noise is not worth another
        middle = math.sqrt(low * high)
        if epsilon_of(middle) <= epsilon:
            high = middle
        else:
            low = middle
    return math.ceil(high * 1000) / 1000


def gaussian_noise(*, epsilon: float, delta: float) -> float:
    """Return the noise with which a single release over all patients spends `epsilon` at `delta`.

    Source: Balle and Wang (2018), arXiv 1805.06530, theorem 8, with sensitivity 1.
    """
    from scipy.special import log_ndtr, ndtr  # noqa: PLC0415

    low, high = 1e-3, 1e6
    while high / low > 1 + 1e-9:
        noise = math.sqrt(low * high)
        inside = float(ndtr(1 / (2 * noise) - epsilon * noise))
        outside = math.exp(epsilon + float(log_ndtr(-1 / (2 * noise) - epsilon * noise)))
        low, high = (low, noise) if inside - outside <= delta else (noise, high)
    return high


def checked_epsilon(epsilon: float, *, accountant: str) -> float:
    """Return an accountant's answer if it is a number that can be one.

    Raises:
        PrivacyError: it is infinite, negative or NaN.
    """
    if not 0 <= epsilon < math.inf:
        raise PrivacyError(f"{accountant} gave no usable epsilon ({epsilon})")
    return epsilon


@lru_cache(maxsize=32)
def _one_step(mechanism: Spend, interval: float) -> "PrivacyLossDistribution":
    from dp_accounting.pld.privacy_loss_distribution import (  # noqa: PLC0415
        from_gaussian_mechanism,
        from_mixture_gaussian_mechanism,
    )

    # Half of an accountant's time; a run asks for the same step in every round.
    noise, rate, draws = mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.draws_per_patient
    if draws == 1 or rate == 1:  # where nobody is left out, all of a patient's draws move the sum together
        return from_gaussian_mechanism(
            noise / draws, sampling_prob=rate, value_discretization_interval=interval
        )
    hits = range(draws + 1)
    return from_mixture_gaussian_mechanism(
        noise,
        sensitivities=list(hits),
        sampling_probs=[math.comb(draws, j) * rate**j * (1 - rate) ** (draws - j) for j in hits],
        value_discretization_interval=interval,
    )
