"""The audit's arithmetic against closed forms, other accountants, and chance itself."""

import numpy as np
import pytest
from scipy.stats import norm

from fed_common.accounting import PldAccountant, Spend
from fed_sim.audit.bounds import (
    chance_at_most,
    gaussian_epsilon,
    gaussian_mu,
    rate_bounds,
    std_ratio_bounds,
)


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (4.0, 16), (1.0, 4), (0.5, 3)])
def test_a_gaussian_mechanisms_epsilon_is_that_of_the_accountant(noise: float, steps: int) -> None:
    spend = Spend(noise_multiplier=noise, sampling_rate=1.0, steps=steps)

    epsilon = gaussian_epsilon(np.sqrt(steps) / noise, 1e-5)

    # The accountant's is an upper bound, on a grid of privacy losses.
    assert epsilon <= PldAccountant().epsilon([spend], 1e-5) <= epsilon + 0.01


@pytest.mark.parametrize("mu", [0.5, 2.0, 4.0])
def test_the_best_test_against_a_gaussian_mechanism_gives_its_mu_back(mu: float) -> None:
    wrong = float(norm.cdf(-mu / 2))
    assert gaussian_mu(wrong, wrong) == pytest.approx(mu)


def test_guessing_gives_nothing() -> None:
    assert gaussian_mu(0.5, 0.5) == 0
    assert gaussian_epsilon(0.0, 1e-5) == 0
    assert gaussian_mu(1.0, 1.0) == 0


@pytest.mark.parametrize(("successes", "count", "limit"), [(0, 10, 0.2589), (5, 10, 0.7776), (10, 10, 1.0)])
def test_chances_are_bounded_as_in_clopper_and_pearsons_table(
    successes: int, count: int, limit: float
) -> None:
    assert chance_at_most(successes, count, 0.05) == pytest.approx(limit, abs=1e-4)


def test_false_alarms_are_as_rare_as_stated() -> None:
    rng = np.random.default_rng(1)
    low, high = std_ratio_bounds(200, 0.05)
    ratios = rng.normal(size=(4000, 200)).std(axis=1)
    rate_low, rate_high = rate_bounds(500, 0.25, 0.05)
    rates = rng.binomial(500, 0.25, size=4000) / 500

    # Four standard errors of a share of 0.05 in 4,000.
    assert np.mean((ratios < low) | (ratios > high)) == pytest.approx(0.05, abs=0.014)
    assert np.mean((rates < rate_low) | (rates > rate_high)) <= 0.05 + 0.014
