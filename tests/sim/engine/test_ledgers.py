"""What virtual sites have spent is told of the one that has spent most, and only that history is composed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.fakes import POLICY, RUN, StepCounter, new_key

from fed_common.accounting import Spend
from fed_common.names import digest_of
from fed_sim.engine.ledgers import VirtualLedgers

SPEND = Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2)
OTHER = replace(SPEND, noise_multiplier=5.0, steps=3)


class Recording(StepCounter):
    """Counts steps, and remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[Spend, ...]] = []

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        self.asked.append(tuple(spends))
        return super().epsilon(spends, delta)


def test_only_histories_that_are_no_part_of_another_are_composed(tmp_path: Path) -> None:
    accountant = Recording()
    ledgers = VirtualLedgers(
        folder=tmp_path,
        key=new_key(),
        policy=POLICY,
        spend=SPEND,
        accountants=(accountant,),
        data=digest_of(b"data"),
    )
    ledgers.charge(RUN, 1, [0, 1, 2, 3])
    ledgers.charge(RUN, 2, [0, 1])
    replace(ledgers, spend=OTHER).charge(RUN, 3, [2])

    assert ledgers.largest_epsilon([0, 1, 2, 3]) == 5

    assert set(accountant.asked) == {(replace(SPEND, steps=4),), (SPEND, OTHER)}
