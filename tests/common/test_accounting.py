"""Two independent accountants agree, the third is never below them, and noise is calibrated to the limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant as OpacusRdp

from fed_client.prv import PrvAccountant
from fed_common import canonical
from fed_common.accounting import (
    ACCOUNTANT_TOLERANCE,
    PldAccountant,
    RdpAccountant,
    Spend,
    calibrate_noise,
    charged_epsilon,
    gaussian_noise,
    merge,
)
from fed_common.errors import ConfigError, MalformedMessageError, PrivacyError


def spend(noise: float, rate: float = 1.0, steps: int = 1, draws: int = 1) -> Spend:
    return Spend(noise_multiplier=noise, sampling_rate=rate, steps=steps, draws_per_patient=draws)


# By Opacus PRV, Opacus RDP and dp-accounting PLD: privacy.md.
GOLDEN = [
    ([spend(1.0, 0.02, 1000)], 1e-5, (3.909, 4.324, 3.899)),
    ([spend(0.8, 0.05, 500)], 1e-4, (10.412, 11.719, 10.401)),
    ([spend(4.0, 1.0, 16)], 1e-5, (4.387, 4.729, 4.377)),
    ([spend(1.0, 0.1, 40)], 1e-5, (4.699, 5.389, 4.688)),
    ([spend(2.0, 0.25, 200)], 1e-4, (8.407, 9.228, 8.396)),
    ([spend(0.6, 0.01, 2000)], 1e-5, (9.964, 11.319, 9.954)),
]


@pytest.mark.parametrize(("spends", "delta", "known"), GOLDEN)
def test_the_accountants_give_the_known_values(
    spends: Sequence[Spend], delta: float, known: tuple[float, float, float]
) -> None:
    accountants = (PrvAccountant(), RdpAccountant(), PldAccountant())
    assert [a.epsilon(spends, delta) for a in accountants] == pytest.approx(known, abs=0.001)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(4.0, 0.01, 30), (20.0, 0.01, 1000), (300.0, 0.5, 3)])
def test_what_renyi_accounting_admits_the_tight_accountants_would_not_refuse(
    noise: float, rate: float, steps: int
) -> None:
    # Where epsilon is so small that PRV's own error makes it the larger one.
    tight = charged_epsilon([spend(noise, rate, steps)], 1e-5, (PrvAccountant(), PldAccountant()))
    assert tight <= RdpAccountant().epsilon([spend(noise, rate, steps)], 1e-5) + ACCOUNTANT_TOLERANCE


def test_training_evaluations_and_statistics_compose() -> None:
    run = (spend(1.1, 0.15, 120), spend(4.0, 1.0, 2), spend(8.0))
    prv, pld, rdp = (a.epsilon(run, 1e-5) for a in (PrvAccountant(), PldAccountant(), RdpAccountant()))
    assert prv == pytest.approx(pld, abs=ACCOUNTANT_TOLERANCE)
    opacus = OpacusRdp()
    opacus.history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in run]
    assert rdp == pytest.approx(opacus.get_epsilon(1e-5), abs=0.001)
    assert pld < rdp <= 1.2 * pld


@pytest.mark.parametrize(
    ("noise", "images", "epsilon"),
    [(1.0, 2, 15.5), (1.0, 4, 38.0), (1.0, 8, 100.8), (2.0, 2, 4.96), (2.0, 4, 11.4), (2.0, 8, 28.2)],
)
def test_images_drawn_singly_cost_their_patient_what_is_known(
    noise: float, images: int, epsilon: float
) -> None:
    spends = (spend(noise, 0.05, 400, draws=images),)
    tight = PldAccountant().epsilon(spends, 1e-5)
    assert tight == pytest.approx(epsilon, rel=0.005)
    # Another way of computing, of the same mixture.
    assert tight < RdpAccountant().epsilon(spends, 1e-5) < 1.12 * tight


@pytest.mark.parametrize("noise", [2.336, 2.7, 3.015, 3.02, 4.265])
def test_draws_that_leave_nobody_out_are_one_release_that_moves_the_sum_so_much_further(noise: float) -> None:
    """dp-accounting's mixture of a single component fails at some of these noises."""
    epsilon = PldAccountant().epsilon([spend(noise, 1.0, 5, draws=4)], 1e-5)

    assert epsilon == pytest.approx(PldAccountant().epsilon([spend(noise / 4, 1.0, 5)], 1e-5), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "epsilon"), [(1.0, 291.7), (2.0, 76.2)])
def test_sixteen_images_drawn_singly_cost_their_patient_what_is_known(noise: float, epsilon: float) -> None:
    spends = (spend(noise, 0.05, 400, draws=16),)
    assert PldAccountant().epsilon(spends, 1e-5) == pytest.approx(epsilon, rel=0.005)


def test_a_ledger_with_images_drawn_singly_is_charged_by_renyi() -> None:
    mixed = [spend(2.0, 0.05, 100), spend(2.0, 0.05, 10, draws=4)]
    with pytest.raises(PrivacyError, match="singly"):
        PrvAccountant().epsilon(mixed, 1e-5)
    charged = charged_epsilon(mixed, 1e-5, (PrvAccountant(), PldAccountant()))
    assert charged == RdpAccountant().epsilon(merge(mixed), 1e-5)
    assert charged > PldAccountant().epsilon(mixed, 1e-5) > PldAccountant().epsilon([mixed[0]], 1e-5)


@pytest.mark.parametrize(("releases", "noise"), [(1, 3.73), (5, 8.3), (20, 16.7)])
def test_counts_need_the_known_noise_for_epsilon_1(releases: int, noise: float) -> None:
    assert PldAccountant().epsilon([spend(noise, steps=releases)], 1e-5) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_the_noise_of_a_single_release_is_what_the_accountants_say(epsilon: float) -> None:
    noise = gaussian_noise(epsilon=epsilon, delta=1e-5)
    assert PldAccountant().epsilon([spend(noise)], 1e-5) == pytest.approx(epsilon, rel=0.002)


def test_a_mechanism_that_is_not_known_is_refused() -> None:
    laplace = canonical.encode(spend(1.0)).replace(b"{", b'{"mechanism":"laplace",')
    with pytest.raises(MalformedMessageError):
        canonical.decode(laplace, Spend)
    assert canonical.decode(canonical.encode(spend(1.0)), Spend) == spend(1.0)


@settings(max_examples=4, deadline=None)
@given(
    st.lists(
        st.builds(spend, st.floats(0.8, 8.0), st.sampled_from([0.01, 0.1, 0.5, 1.0]), st.integers(1, 40)),
        min_size=1,
        max_size=3,
    )
)
def test_the_tight_accountants_agree_on_mixtures_and_renyi_is_above(spends: list[Spend]) -> None:
    prv, pld = (accountant.epsilon(spends, 1e-5) for accountant in (PrvAccountant(), PldAccountant()))
    assert prv == pytest.approx(pld, abs=ACCOUNTANT_TOLERANCE)
    assert RdpAccountant().epsilon(spends, 1e-5) >= pld


def test_one_gaussian_release_costs_what_the_closed_form_says() -> None:
    # Balle and Wang (2018), theorem 8, with sensitivity 1.
    epsilon, noise = PldAccountant().epsilon([spend(3.73)], 1e-5), 3.73

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    inside, outside = 1 / (2 * noise) - epsilon * noise, -1 / (2 * noise) - epsilon * noise
    assert normal(inside) - math.exp(epsilon) * normal(outside) == pytest.approx(1e-5, rel=0.01)


@dataclass(frozen=True)
class Stubborn:
    """An accountant that can judge nothing."""

    name: str = "stubborn"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        raise PrivacyError("can't judge")


@dataclass(frozen=True)
class Constant:
    value: float
    name: str = "constant"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        return self.value


def test_the_largest_of_the_accountants_is_charged() -> None:
    assert charged_epsilon([spend(1.0)], 1e-5, (Constant(2.0), Constant(3.0), Constant(1.0))) == 3.0


def test_where_an_accountant_fails_renyi_stands_in() -> None:
    spends = [spend(2.0, 0.1, 10)]
    charged = charged_epsilon(spends, 1e-5, (Constant(0.1), Stubborn()))
    assert charged == RdpAccountant().epsilon(spends, 1e-5)


def test_nothing_spent_is_no_epsilon() -> None:
    assert charged_epsilon([], 1e-5, (Stubborn(),)) == 0.0


@pytest.mark.parametrize("delta", [0.0, -1e-5, 0.5, 1.0, math.nan, math.inf])
def test_a_delta_that_protects_nobody_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="delta"):
        charged_epsilon([spend(1.0)], delta, (Constant(1.0),))


@pytest.mark.parametrize(
    ("noise", "rate", "steps"),
    [
        *((noise, 0.5, 1) for noise in (0.0, -1.0, 1e9, math.nan, math.inf)),
        *((1.0, rate, 1) for rate in (0.0, -0.1, 1.1, math.nan)),
        *((1.0, 0.5, steps) for steps in (0, -1, 10**8)),
    ],
)
def test_a_release_that_cannot_be_is_refused(noise: float, rate: float, steps: int) -> None:
    with pytest.raises(PrivacyError):
        spend(noise, rate, steps)


@pytest.mark.parametrize("draws", [0, -1, 1001])
def test_a_number_of_draws_that_cannot_be_is_refused(draws: int) -> None:
    with pytest.raises(PrivacyError, match="draws_per_patient"):
        spend(1.0, 0.5, draws=draws)


def test_mechanisms_that_see_everybody_are_merged_into_the_one_that_they_compose_to() -> None:
    apart = [spend(4.0, 1.0, 8), spend(2.0, 0.5, 1), spend(8.0, 1.0, 32)]

    assert merge(apart) == (spend(1.0, 1.0, 1), spend(2.0, 0.5, 1))
    for accountant in (PldAccountant(), RdpAccountant()):
        assert accountant.epsilon(merge(apart), 1e-5) == pytest.approx(
            accountant.epsilon(apart, 1e-5), rel=1e-3
        )


def test_equal_mechanisms_are_merged_and_none_is_lost() -> None:
    singly = spend(1.0, 0.5, 1, draws=2)
    merged = merge([spend(1.0, 0.5, 3), spend(2.0, 0.5, 1), singly, spend(1.0, 0.5, 4)])
    assert merged == (spend(1.0, 0.5, 7), singly, spend(2.0, 0.5, 1))


@cache
def epsilon_of(noise: float) -> float:
    return RdpAccountant().epsilon([spend(noise, 0.1, 100)], 1e-5)


@pytest.mark.parametrize("target", [0.5, 3.0, 8.0])
def test_calibrated_noise_is_enough_and_one_percent_less_is_not(target: float) -> None:
    noise = calibrate_noise(epsilon_of, epsilon=target)
    assert epsilon_of(noise) <= target < epsilon_of(noise * 0.99)


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan])
def test_an_epsilon_that_no_noise_reaches_is_refused(target: float) -> None:
    with pytest.raises(ConfigError):
        calibrate_noise(epsilon_of, epsilon=target)
