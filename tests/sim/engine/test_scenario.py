"""Scenarios of virtual sites: what is allowed, and what noise who trains most often asks for."""

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.sim.engine.virtual_runs import PRIVATE, UNPROTECTED, whole_run

from fed_client.policy import PolicyRefusal
from fed_common.accounting import PldAccountant, Spend
from fed_common.errors import ConfigError
from fed_sim.engine.opening import SPEC
from fed_sim.engine.participation import most_rounds, sites_of_round
from fed_sim.engine.scenario import VirtualScenario, VirtualTable, load_virtual
from fed_sim.engine.terms import admitted, policy_of, private_terms, unprotected_terms

VIRTUAL = VirtualTable(sites=50, images=10, fraction=0.1)


@pytest.mark.parametrize("name", ["thousand", "thousand-private"])
def test_the_gallery_has_a_thousand_sites(name: str) -> None:
    virtual = load_virtual(Path(name)).virtual

    assert (virtual.sites, virtual.images, virtual.sites_per_round) == (1000, 64, 100)


@pytest.mark.parametrize("tables", [{"privacy": None}, {"unprotected": {}}])
def test_a_scenario_is_private_or_not(tables: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="either a table privacy or a table unprotected"):
        VirtualScenario.model_validate(PRIVATE.model_dump(exclude_none=True) | tables)


def test_who_trains_is_the_same_again_and_spread_over_all() -> None:
    rounds = [sites_of_round(VIRTUAL, number) for number in range(1, 201)]
    trained = Counter(site for sites in rounds for site in sites)

    assert rounds == [sites_of_round(VIRTUAL, number) for number in range(1, 201)]
    assert all(len(set(sites)) == 5 for sites in rounds)
    assert len(trained) == 50 and max(trained.values()) == most_rounds(VIRTUAL, rounds=200) < 40


def test_the_noise_is_that_of_who_trains_most_often() -> None:
    scenario = PRIVATE.model_copy(update={"virtual": VIRTUAL})
    assert scenario.privacy is not None
    terms = private_terms(scenario, scenario.privacy)
    most = most_rounds(VIRTUAL, rounds=3)
    spend = Spend(noise_multiplier=terms.dp.noise_multiplier, sampling_rate=0.5, steps=2 * most)

    assert most < 3
    assert 7.8 < PldAccountant().epsilon([spend], 1e-5) <= 8.0


def test_noise_that_is_too_small_for_epsilon_is_refused() -> None:
    assert PRIVATE.privacy is not None
    privacy = PRIVATE.privacy.model_copy(update={"noise_multiplier": 0.4})

    with pytest.raises(ConfigError, match="trains most often"):
        private_terms(PRIVATE, privacy)


def test_the_sites_own_policy_refuses_terms_beyond_it() -> None:
    policy = PRIVATE.policy.model_copy(update={"max_sampling_rate": 0.1})
    scenario = PRIVATE.model_copy(update={"policy": policy})
    assert scenario.privacy is not None
    terms = private_terms(scenario, scenario.privacy)

    with pytest.raises(PolicyRefusal, match="sampling rate"):
        admitted(policy_of(scenario, scenario.privacy, SPEC), scenario, terms, SPEC)


def test_an_exhausted_budget_ends_the_run(tmp_path: Path) -> None:
    policy = PRIVATE.policy.model_copy(update={"epsilon": 2.0})
    scenario = PRIVATE.model_copy(update={"policy": policy})

    with pytest.raises(PolicyRefusal, match="budget-exhausted"):
        whole_run(scenario, tmp_path)
    assert not list((tmp_path / "sites").glob("*/ledger.jsonl"))


def test_a_sum_that_could_overflow_is_refused() -> None:
    virtual = VirtualTable(sites=100_000, images=10_000)
    scenario = UNPROTECTED.model_copy(update={"virtual": virtual})
    assert scenario.unprotected is not None

    with pytest.raises(ConfigError, match="overflow"):
        unprotected_terms(scenario, scenario.unprotected)
