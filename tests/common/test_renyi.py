"""The divergences are those of a second library, of a closed form, and of drawing by hand."""

import numpy as np
import pytest
from opacus.accountants.analysis.rdp import compute_rdp

from fed_common.renyi import ORDERS, divergences


@pytest.mark.parametrize(("noise", "rate"), [(1.1, 0.15), (0.5, 0.01), (4.0, 1.0)])
def test_one_draw_is_opacus_at_every_order(noise: float, rate: float) -> None:
    known = compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=list(ORDERS))
    assert divergences(noise, rate, 1) == pytest.approx(np.asarray(known), rel=1e-4, abs=1e-9)


def test_draws_that_always_hit_are_one_gaussian_of_their_sum() -> None:
    found = divergences(2.0, 1.0, 3)
    known = [order * 3**2 / (2 * 2.0**2) if 3 * order <= 1024 else np.inf for order in ORDERS]
    assert found == pytest.approx(known)


def test_a_patient_of_two_draws_has_the_second_moment_that_sums_to() -> None:
    # Order 2 by hand: the sum over pairs of hits of their chances times exp(i j / noise^2).
    noise, rate = 1.5, 0.2
    chances = [(1 - rate) ** 2, 2 * rate * (1 - rate), rate**2]
    moment = sum(
        p * q * np.exp(i * j / noise**2) for i, p in enumerate(chances) for j, q in enumerate(chances)
    )
    assert divergences(noise, rate, 2)[ORDERS.index(2.0)] == pytest.approx(np.log(moment))
