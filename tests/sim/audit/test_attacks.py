"""The attacks are attacks: without noise they succeed, with it they find no more than epsilon allows."""

import numpy as np
import pytest
from scipy.stats import norm

from fed_sim.audit.bounds import gaussian_epsilon
from fed_sim.audit.faults import FAULTS
from fed_sim.audit.hospital import SiteParts
from fed_sim.audit.inversion import invert
from fed_sim.audit.membership import infer_membership, largest_area


def test_a_picture_is_rebuilt_without_noise_and_not_with_it() -> None:
    attack = invert(SiteParts())
    assert attack.holds
    assert attack.unprotected.value > 0.8
    assert abs(attack.protected.value) < 0.4


def test_a_site_whose_noise_is_missing_gives_its_pictures_away() -> None:
    assert not invert(FAULTS["noise missing"]).holds


@pytest.mark.slow
def test_members_are_found_without_noise_and_not_with_it() -> None:
    attacks = infer_membership(SiteParts())
    assert [attack.holds for attack in attacks] == [True] * 4


@pytest.mark.slow
def test_a_site_whose_noise_is_missing_gives_its_members_away() -> None:
    assert not any(attack.holds for attack in infer_membership(FAULTS["noise missing"]))


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.0])
def test_the_largest_area_is_not_below_that_of_a_gaussian_mechanism(mu: float) -> None:
    area_of_the_best_test = float(norm.cdf(mu / np.sqrt(2)))
    assert largest_area(gaussian_epsilon(mu, 1e-5), 1e-5) >= area_of_the_best_test


def test_the_largest_area_of_pure_privacy_is_the_closed_form() -> None:
    # Two straight lines that meet where both kinds of errors are 1 / (1 + e^epsilon).
    wrong = 1 / (1 + np.exp(2.0))
    assert largest_area(2.0, 0.0) == pytest.approx(1 - wrong, abs=1e-4)
    assert largest_area(0.0, 0.0) == pytest.approx(0.5, abs=1e-4)
