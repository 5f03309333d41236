"""How much of a privacy budget is spent, and how often something more fits into the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fed_common.accounting import Accountant, Spend, charged_epsilon

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

        def affords(times: int) -> bool:
            more = (replace(spend, steps=times * spend.steps) for spend in unit)
            return self.spent([*spent, *more]) <= self.epsilon

        return _largest(affords, MANY)


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that `holds`, which is monotonic; 0 if 1 doesn't."""
    low, high = 0, 1
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
