"""Who looks at a site's releases, and how much each of them can learn: one claim per adversary.

A site always claims what holds if everybody else colludes. Where only masked sums reach the coordinator and
every local step is summed, the honest sites' noises add up, and a second, smaller epsilon holds against a
coordinator who has nothing but the sums. After several local steps a site's noise has gone through its own
gradients; then nothing is claimed but the first. See decision 0019.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

from fed_common.accounting import Accountant, Spend, charged_epsilon
from fed_common.errors import PrivacyError


@dataclass(frozen=True, kw_only=True)
class MaskedSums:
    """What makes a sum hide a site: its plan is masked, and so many sites, it included, keep their noise.

    Their noises are of one size in the sum: a site divides its own by its size class, which is its weight.
    """

    honest_sites: int
    steps_per_round: int

    def __post_init__(self) -> None:
        if not self.honest_sites >= 1:
            raise PrivacyError(f"honest_sites counts the site itself, got {self.honest_sites}")
        if not self.steps_per_round >= 1:
            raise PrivacyError(f"steps_per_round must be at least 1, got {self.steps_per_round}")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Epsilon at delta per patient, and against whom it holds."""

    adversary: str
    epsilon: float
    delta: float


def claims(
    spends: Sequence[Spend],
    delta: float,
    accountants: Sequence[Accountant],
    *,
    masked: MaskedSums | None = None,
    apart: Sequence[Spend] = (),
) -> tuple[Claim, ...]:
    """Return the claim against everybody, and the one against the coordinator alone where it holds.

    Masks are about `spends`; what a site releases `apart` from them, such as counts, is seen as it is.
    """
    own = Claim(
        adversary="everybody else together, the coordinator and all other sites",
        epsilon=charged_epsilon((*spends, *apart), delta, accountants),
        delta=delta,
    )
    if masked is None or masked.steps_per_round > 1:
        return (own,)
    alone = Claim(
        adversary=(
            f"the coordinator alone, while {masked.honest_sites} sites, this one included, are honest "
            "and work with the terms asked for"
        ),
        epsilon=charged_epsilon((*seen_in_sums(spends, masked.honest_sites), *apart), delta, accountants),
        delta=delta,
    )
    return (own, alone)


def seen_in_sums(spends: Sequence[Spend], honest_sites: int) -> tuple[Spend, ...]:
    """Return a site's releases as the sum shows them: independent noises of equal size add up."""
    wider = sqrt(honest_sites)
    return tuple(replace(spend, noise_multiplier=wider * spend.noise_multiplier) for spend in spends)
