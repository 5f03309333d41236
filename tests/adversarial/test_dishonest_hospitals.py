"""Two of seven hospitals attack: the mean falls to every attack, which the robust rules withstand."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.server.robust.cohorts import combined
from tests.server.robust.poisoned_federation import (
    LONGEST,
    NUM_DISHONEST,
    NUM_PARAMETERS,
    NUM_SITES,
    Attack,
    accuracy,
    share_called_healthy,
    trained,
)

from fed_server.aggregation import AggregationRule
from fed_server.averaging import MeanUpdate
from fed_server.robust.choice import rule_of
from fed_server.settings import AggregationTable
from fed_sim.attacks.forged_updates import Update, agreed, sign_flipped, stretched
from fed_sim.attacks.poisoned_images import with_backdoor, with_flipped_labels, with_trigger

HEALTHY = 0
ROBUST = ("median", "trimmed-mean", "krum", "multi-krum", "norm-bounded-mean")


def rule(name: str, *, dishonest: int = NUM_DISHONEST) -> AggregationRule[MeanUpdate]:
    table = {"rule": name} if name == "mean" else {"rule": name, "dishonest": dishonest}
    return rule_of(AggregationTable.model_validate(table), NUM_PARAMETERS)


def lengthened(updates: list[Update]) -> list[Update]:
    return [stretched(update_P, norm=LONGEST) for update_P in updates]


HONEST = Attack()
ATTACKS = {
    "label flip": Attack(poison=with_flipped_labels, forge=lengthened),
    "sign flip": Attack(forge=lambda updates: lengthened([sign_flipped(one) for one in updates])),
    "colluding minority": Attack(forge=lambda updates: agreed(updates, norm=LONGEST)),
}
BACKDOOR = Attack(poison=lambda images: with_backdoor(images, target=HEALTHY), forge=lengthened)


@cache
def honest_accuracy() -> float:
    return accuracy(trained(rule("mean"), HONEST))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mean_falls_to_a_minority(attack: str) -> None:
    assert honest_accuracy() > 0.9
    assert accuracy(trained(rule("mean"), ATTACKS[attack])) < 0.6


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ROBUST)
def test_a_robust_rule_learns_all_the_same(name: str, attack: str) -> None:
    assert accuracy(trained(rule(name), ATTACKS[attack])) > honest_accuracy() - 0.07


def test_a_backdoor_gets_into_the_mean_without_being_seen_in_its_accuracy() -> None:
    weights_P = trained(rule("mean"), BACKDOOR)
    assert share_called_healthy(weights_P, with_trigger) > 0.9


@pytest.mark.parametrize("name", ["median", "trimmed-mean", "krum", "multi-krum"])
def test_a_backdoor_stays_outside(name: str) -> None:
    weights_P = trained(rule(name), BACKDOOR)
    usual = share_called_healthy(trained(rule(name), HONEST), with_trigger)
    assert share_called_healthy(weights_P, with_trigger) < usual + 0.1
    assert accuracy(weights_P) > honest_accuracy() - 0.07


def test_a_bound_on_norms_alone_keeps_no_backdoor_out() -> None:
    """What the README says of it: little by little, a backdoor comes in."""
    weights_P = trained(rule("norm-bounded-mean"), BACKDOOR)
    assert share_called_healthy(weights_P, with_trigger) > 0.9


def updates_with_a_scaled_one() -> NDArray[np.float64]:
    rng = np.random.default_rng(5)
    updates = rng.normal(0.1, 0.02, size=(NUM_SITES, NUM_PARAMETERS))
    updates[0] *= 100
    return updates


@pytest.mark.parametrize(("name", "times"), [("mean", 10.0), *((name, 1.2) for name in ROBUST)])
def test_a_scaled_update_moves_the_mean_alone(name: str, times: float) -> None:
    updates_NP = updates_with_a_scaled_one()
    honest_P = updates_NP[1:].mean(axis=0)
    longer = np.linalg.norm(combined(rule(name), updates_NP)) / np.linalg.norm(honest_P)
    assert (longer >= times) if name == "mean" else (longer <= times)


@pytest.mark.parametrize("name", ROBUST)
def test_a_dishonest_majority_bends_every_rule(name: str) -> None:
    """What no rule can do: to it, the majority is the truth."""
    updates_NP = np.full((NUM_SITES, NUM_PARAMETERS), 1.0)
    updates_NP[:4] = -1.0
    assert np.all(combined(rule(name), updates_NP) < 0)
