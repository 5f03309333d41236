"""Every pass that a personal model needs is in the cost of a run, for the coordinator and for a site."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fed_common.accounting import Spend
from fed_common.errors import ConfigError
from fed_common.personal import PersonalChoice, PersonalTable
from fed_common.personal_methods import Apfl, Ditto, LocalLayers
from fed_common.proposal import EvaluationTable, PrivacyTable, Proposal, ScheduleTable, load_proposal

PLAIN = Proposal(
    schedule=ScheduleTable(rounds=5, steps_per_round=4),
    privacy=PrivacyTable(epsilon=8.0, sampling_rate=0.2),
    evaluation=EvaluationTable(every=5, noise_multiplier=8.0),
)


def personal(**keys: object) -> PersonalTable:
    table: PersonalTable = TypeAdapter(PersonalChoice).validate_python(keys)
    return table


@pytest.mark.parametrize(
    ("keys", "training", "after"),
    [
        ({"method": "fedbn"}, 20, 0),
        ({"method": "fedper"}, 20, 0),
        ({"method": "fedrep", "head_steps": 2}, 20, 0),
        ({"method": "ditto", "mu": 0.1, "steps": 3}, 35, 0),
        ({"method": "apfl"}, 40, 0),
        ({"method": "fine-tuning", "steps": 9}, 20, 9),
    ],
)
def test_extra_steps_are_in_the_spends(keys: dict[str, object], training: int, after: int) -> None:
    spends = replace(PLAIN, personal=personal(**keys)).spends(1.5)
    assert spends[0] == Spend(noise_multiplier=1.5, sampling_rate=0.2, steps=training)
    assert spends[2:] == ((Spend(noise_multiplier=1.5, sampling_rate=0.2, steps=after),) if after else ())


def test_extra_steps_cost_epsilon_and_local_layers_none() -> None:
    plain, layers, twice = (
        replace(PLAIN, personal=table).epsilon(1.5)
        for table in (None, personal(method="fedper"), personal(method="apfl"))
    )
    assert layers == plain
    assert twice > plain * 1.2


def test_a_site_that_is_sent_the_file_reads_the_same_cost(tmp_path: Path) -> None:
    text = "[training]\nrounds = 5\nsteps_per_round = 4\n[privacy]\nepsilon = 8.0\nsampling_rate = 0.2\n"
    (tmp_path / "federation.toml").write_text(text + '[personal]\nmethod = "ditto"\nmu = 0.1\nsteps = 3\n')
    proposal, _ = load_proposal(tmp_path / "federation.toml")
    assert proposal.training(1.0).steps == 35


def test_terms_of_no_sense_are_refused() -> None:
    for wrong in (
        lambda: Ditto(mu=float("nan"), steps=1),
        lambda: Ditto(mu=1.0, steps=0),
        lambda: Apfl(alpha=0.0),
        lambda: Apfl(alpha=float("nan")),
        lambda: LocalLayers(method="fedper", head_steps=1),
        lambda: LocalLayers(method="fedrep"),
    ):
        with pytest.raises(ConfigError):
            wrong()
