"""Whole runs with personal models: what stays at the sites is no part of the model, masked or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from tests.fakes import COORDINATOR_SIGNS, FIRST_P, SITES
from tests.released_models import SITE_SIGNS
from tests.server.runs import SETTINGS, new_run, real_sites

from fed_common.errors import ConfigError
from fed_common.models import build_model
from fed_common.personal import PersonalChoice, PersonalTable
from fed_common.personal.local_layers import local_part
from fed_common.personal_methods import LocalLayers
from fed_common.task import Recipe
from fed_server.algorithms.scaffold import Scaffold
from fed_server.artefacts.verification import verify_run
from fed_server.settings import AggregationTable, RunSettings

MASKED = AggregationTable()


def personal(**keys: object) -> PersonalTable:
    table: PersonalTable = TypeAdapter(PersonalChoice).validate_python(keys)
    return table


def with_personal(table: PersonalTable, **changes: Any) -> RunSettings:
    return replace(SETTINGS, personal=table, **changes)


@pytest.mark.parametrize("aggregation", [SETTINGS.aggregation, MASKED], ids=["plain", "masked"])
def test_a_local_head_stays_at_the_sites(tmp_path: Path, aggregation: AggregationTable) -> None:
    run = new_run(tmp_path)
    settings = with_personal(personal(method="fedper"), aggregation=aggregation)
    with real_sites(run, tmp_path / "sites"):
        last = run.start(settings=settings)

    head_P = local_part(build_model(settings.model), LocalLayers(method="fedper"))
    assert np.array_equal(last.parameters_P[head_P], FIRST_P[head_P])
    assert not np.allclose(last.parameters_P[~head_P], FIRST_P[~head_P], atol=1e-3)
    files = [tmp_path / "sites" / site / "answers" / "personal" / "run-1.safetensors" for site in SITES]
    assert len({file.read_bytes() for file in files}) == 3
    verify_run(run.folder, settings.model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def test_fine_tuning_follows_the_last_round_alone(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    every = SETTINGS.evaluation.model_copy(update={"every": 1})
    settings = with_personal(personal(method="fine-tuning", steps=1), evaluation=every)
    with real_sites(run, tmp_path / "sites"):
        last = run.start(settings=settings)
    # Two rounds, each trained and measured, and the fine-tuning.
    assert {site.privacy.releases for site in last.manifest.sites} == {5}


def test_no_better_claim_is_made_of_masks_where_counts_tell_of_a_personal_model() -> None:
    distributed = replace(SETTINGS, aggregation=MASKED)
    assert distributed.claim_alone() is not None
    assert with_personal(personal(method="fedper"), aggregation=MASKED).claim_alone() is None


def test_the_digest_of_settings_knows_the_method() -> None:
    fewer, more = (with_personal(personal(method="fine-tuning", steps=steps)).digest for steps in (1, 2))
    assert len({fewer, more, SETTINGS.digest}) == 3


@pytest.mark.parametrize(
    ("keys", "changes", "reason"),
    [
        ({"method": "fedbn"}, {}, "the network has no such layers"),
        ({"method": "fedper"}, {"training": {"averaging": "late"}}, 'averaging must be "none"'),
        ({"method": "fedrep", "head_steps": 2}, {"training": {"steps_per_round": 2}}, "must be below"),
        (
            {"method": "fedrep", "head_steps": 1},
            {"training": {"steps_per_round": 2, "momentum": 0.5}},
            "momentum must be 0",
        ),
        ({"method": "ditto", "mu": 11.0, "steps": 1}, {}, "mu must be at most .* = 10, got 11"),
        (
            {"method": "apfl"},
            {"aggregation": AggregationTable(masked=False, vote=True)},
            "exclude each other",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    keys: dict[str, object], changes: dict[str, Any], reason: str
) -> None:
    training = changes.get("training")
    if isinstance(training, dict):
        changes = {"training": SETTINGS.training.model_copy(update=training)}
    with pytest.raises(ConfigError, match=reason):
        with_personal(personal(**keys), **changes)


def test_a_network_that_is_nothing_but_its_head_has_nothing_to_share() -> None:
    task = replace(SETTINGS.task, model="scattering", recipe=Recipe())
    with pytest.raises(ConfigError, match="nothing of the network would be shared"):
        with_personal(personal(method="fedper"), task=task)
    with_personal(personal(method="apfl"), task=task)


def test_scaffold_does_not_go_together_with_held_layers() -> None:
    two_steps = SETTINGS.training.model_copy(update={"steps_per_round": 2})
    for table, refused in (
        (personal(method="fedrep", head_steps=1), True),
        (personal(method="fedper"), False),
    ):
        settings = replace(SETTINGS, algorithm=Scaffold(name="scaffold"), training=two_steps)
        if refused:
            with pytest.raises(ConfigError, match="exclude each other"):
                replace(settings, personal=table)
        else:
            replace(settings, personal=table)
