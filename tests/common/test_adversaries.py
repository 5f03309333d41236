"""Against everybody a site has its own noise; against the coordinator alone it has that of all, if masked."""

import pytest
from tests.fakes import StepCounter

from fed_common.accounting import PldAccountant, Spend
from fed_common.adversaries import MaskedSums, claims, seen_in_sums
from fed_common.errors import PrivacyError

PLD = (PldAccountant(),)


def training(noise: float) -> list[Spend]:
    return [Spend(noise_multiplier=noise, sampling_rate=0.05, steps=400)]


@pytest.mark.parametrize(("honest", "epsilon"), [(3, 2.7), (5, 1.9), (10, 1.3)])
def test_masked_sums_of_single_steps_show_the_coordinator_less(honest: int, epsilon: float) -> None:
    own, alone = claims(training(1.0), 1e-5, PLD, masked=MaskedSums(honest_sites=honest, steps_per_round=1))
    assert own.epsilon == pytest.approx(6.7, abs=0.05)
    assert alone.epsilon == pytest.approx(epsilon, abs=0.05)
    assert f"{honest} sites" in alone.adversary


@pytest.mark.parametrize(("honest", "noise"), [(1, 1.62), (3, 0.94), (5, 0.72), (10, 0.51)])
def test_the_more_honest_sites_the_less_noise_each_needs_against_the_coordinator(
    honest: int, noise: float
) -> None:
    assert PldAccountant().epsilon(seen_in_sums(training(noise), honest), 1e-5) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("masked", [None, MaskedSums(honest_sites=3, steps_per_round=2)])
def test_nothing_is_claimed_against_the_coordinator_without_masks_or_after_several_steps(
    masked: MaskedSums | None,
) -> None:
    (own,) = claims(training(1.0), 1e-5, (StepCounter(),), masked=masked)
    assert (own.epsilon, own.delta) == (400.0, 1e-5)
    assert "everybody" in own.adversary


@pytest.mark.parametrize(("honest", "steps"), [(0, 1), (-1, 1), (3, 0)])
def test_sums_that_hide_nobody_are_refused(honest: int, steps: int) -> None:
    with pytest.raises(PrivacyError):
        MaskedSums(honest_sites=honest, steps_per_round=steps)
