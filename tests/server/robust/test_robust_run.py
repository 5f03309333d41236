"""A whole run with a robust rule: the largest hospital lies, and its lie is not in the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import FIRST_P, SOUTH, ObedientSite
from tests.server.runs import SETTINGS, Run, new_run

from fed_common.errors import QuorumError
from fed_server.settings import AggregationTable

HONEST = FIRST_P + 2 * 0.001


def lying(root: Path) -> Run:
    run = new_run(root)
    run.sites[SOUTH] = ObedientSite(SOUTH, value=-0.05)  # 16 of 28 patients
    return run


def test_the_mean_goes_where_one_hospital_pulls_it(tmp_path: Path) -> None:
    last = lying(tmp_path).start()
    assert np.all(last.parameters_P < FIRST_P - 0.05)


@pytest.mark.parametrize("rule", ["median", "trimmed-mean"])
def test_a_robust_rule_does_not(tmp_path: Path, rule: str) -> None:
    table = AggregationTable.model_validate({"rule": rule})
    last = lying(tmp_path).start(settings=replace(SETTINGS, aggregation=table))
    assert np.allclose(last.parameters_P, HONEST, atol=1e-6)


def test_with_too_few_answers_to_outvote_a_liar_the_model_stands(tmp_path: Path) -> None:
    run = lying(tmp_path)
    run.offline = {next(iter(run.sites))}
    with pytest.raises(QuorumError):
        run.start(settings=replace(SETTINGS, aggregation=AggregationTable(rule="median")))
    (only,) = run.chain()
    assert np.array_equal(only.parameters_P, FIRST_P)
