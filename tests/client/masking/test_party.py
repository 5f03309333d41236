"""What the sites send adds up exactly, whoever drops out, and only with those whom all have agreed on."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from tests.masked_sessions import (
    RING,
    Courier,
    elements,
    enough,
    expected_sum,
    masked_plan,
    names,
    update_of,
)

from fed_common.errors import TrustError
from fed_common.masking.ring import Ring
from fed_common.masking.statements import join_lines

RINGS = [RING, Ring(bits=64, fraction_bits=32)]


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_the_sum_is_that_of_integers_to_the_last_bit(count: int, ring: Ring) -> None:
    """Fault 89."""
    plan = masked_plan(count, ring=ring)
    assert np.array_equal(Courier(plan).mask().unmask(), expected_sum(plan, names(count)))


def _drops() -> Iterator[tuple[int, tuple[int, ...]]]:
    for count in (3, 4, 5):
        for number in range(count + 1):
            yield from ((count, gone) for gone in combinations(range(count), number))


DROPS = list(_drops())


@pytest.mark.parametrize(("count", "gone"), DROPS)
def test_whoever_drops_before_masking_the_others_sum_is_exact_or_nobody_unmasks(
    count: int, gone: tuple[int, ...]
) -> None:
    """Fault 88: every subset of 3, 4 and 5 sites is missing when the masked updates are gathered."""
    plan = masked_plan(count)
    alive = [site for place, site in enumerate(names(count)) if place not in gone]
    if not alive:
        return
    masked = Courier(plan).mask(alive)
    if len(alive) >= enough(count):
        assert np.array_equal(masked.unmask(), expected_sum(plan, alive))
    else:
        with pytest.raises(TrustError, match="are alive"):
            masked.unmask()


@pytest.mark.parametrize(("count", "gone"), DROPS)
def test_whoever_drops_while_confirming_or_unmasking_a_threshold_suffices(
    count: int, gone: tuple[int, ...]
) -> None:
    plan = masked_plan(count)
    masked = Courier(plan).mask()
    left = [site for place, site in enumerate(names(count)) if place not in gone]
    if len(left) >= enough(count):
        assert np.array_equal(masked.unmask(confirming=left), expected_sum(plan, names(count)))
        assert np.array_equal(masked.unmask(revealing=left), expected_sum(plan, names(count)))
    elif left:
        with pytest.raises(TrustError, match="confirmed the survivors"):
            masked.unmask(confirming=left)
        with pytest.raises(TrustError, match="revealed their shares"):
            masked.unmask(revealing=left)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_whoever_drops_while_advertising_is_not_in_the_roster(count: int) -> None:
    plan = masked_plan(count)
    for left in combinations(names(count), count - 1):
        lines, states = Courier(plan).advertise(left)
        body = join_lines(lines.values())
        if len(left) >= 3:
            assert set(Courier(plan).roster(lines).members) == set(left)
        else:
            with pytest.raises(TrustError, match="at least 3"):
                states[left[0]].share(body)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_whoever_drops_while_sharing_nobody_masks(count: int) -> None:
    """Nothing of an update has left any site, so another session can begin with the rest."""
    _, dealings, dealt = Courier(masked_plan(count)).share()
    for gone in names(count):
        rest = join_lines(line for site, line in dealings.items() if site != gone)
        for site in names(count):
            with pytest.raises(TrustError, match="not all members"):
                dealt[site].mask(rest, lambda: pytest.fail("the update was taken"))


def test_a_masked_update_shows_nothing_of_it_alone() -> None:
    """Uniform in each coordinate: the update is lost in its mask."""
    masked = Courier(masked_plan(3)).mask()
    for site, raw in masked.vectors.items():
        weighted = RING.weighted(update_of(site), 3)
        high_bits = np.bincount(elements(raw) >> 28, minlength=16)
        assert ((high_bits - 62.5) ** 2 / 62.5).sum() < 60  # chi-square, 15 degrees of freedom
        assert np.count_nonzero(elements(raw) == weighted) <= 1


def test_masks_of_two_sessions_of_the_same_plan_have_nothing_in_common() -> None:
    """Fault 92, and 91: a vector of an earlier session in the sum leaves garbage, not a sum."""
    plan = masked_plan(3)
    first, second = Courier(plan, session="11" * 16).mask(), Courier(plan, session="22" * 16).mask()
    site = names(3)[0]
    assert np.count_nonzero(elements(first.vectors[site]) == elements(second.vectors[site])) <= 1
    second.vectors = {**second.vectors, site: first.vectors[site]}
    garbage = second.unmask()
    assert np.abs(garbage).max() > RING.bound(clip=1.0, total_weight=12) * 100
