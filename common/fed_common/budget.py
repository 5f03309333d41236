"""How much of a privacy budget is spent, and how often something more fits into the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fed_common.accounting import Accountant, PldAccountant, RdpAccountant, Spend, charged_epsilon

# Enough to say "many": each trial costs an accountant a fraction of a second.
MANY = 4096


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a data set's patients may give away in all, and who judges it."""

    epsilon: float
    delta: float
    accountants: tuple[Accountant, ...]

    def spent(self, spends: Sequence[Spend]) -> float:
        """Return epsilon of all `spends` together."""
        return charged_epsilon(spends, self.delta, self.accountants)

    def times(self, spent: Sequence[Spend], unit: Sequence[Spend]) -> int:
        """Return how often the releases of `unit` still fit in after `spent`, at most `MANY` times."""

        def affords(times: int, accountants: Sequence[Accountant]) -> bool:
            more = (replace(spend, steps=times * spend.steps) for spend in unit)
            return charged_epsilon([*spent, *more], self.delta, accountants) <= self.epsilon

        # From the fastest accountant, which is a little too careful, to those that decide: each begins with
        # the guess of the one before.
        times = 1
        for accountants in ((RdpAccountant(),), (PldAccountant(),), self.accountants):
            times = _largest(partial(affords, accountants=accountants), MANY, guess=times)
        return times


def _largest(holds: Callable[[int], bool], most: int, *, guess: int) -> int:
    """Return the largest number up to `most` that `holds`, which is monotonic; 0 if 1 doesn't."""
    low, high = 0, max(guess, 1)
    step = 1
    while high <= most and holds(high):
        low, high, step = high, high + step, 2 * step
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
