"""What was trained stays, and figures of different settings never get into one table."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.sim.experiments.cells import measured, scores

from fed_common.errors import ConfigError
from fed_common.names import Digest
from fed_sim.experiments.store import Store

TERMS, OTHERS = Digest("a" * 64), Digest("b" * 64)


def test_a_cell_comes_back_as_it_was(tmp_path: Path) -> None:
    tiny = replace(scores(), scores_M=scores().scores_M * 1e-9)
    one = measured(tiny, scores(where="hospital-1"), epsilon=math.inf, personal=True)
    with Store.opened(tmp_path / "results.sqlite") as store:
        store.add(one, terms=TERMS)
    with Store.opened(tmp_path / "results.sqlite") as store:
        (again,) = store

    assert (again.cell, again.personal, again.seconds, again.commit) == (one.cell, True, 1.5, "abc")
    for before, after in zip(one.scores, again.scores, strict=True):
        assert (before.where, before.patients) == (after.where, after.patients)
        assert np.array_equal(before.scores_M, after.scores_M)
        assert (before.positive_M == after.positive_M).all() and (before.right_M == after.right_M).all()


def test_a_cell_is_known_by_all_that_it_is(tmp_path: Path) -> None:
    with Store.opened(tmp_path / "results.sqlite") as store:
        store.add(measured(scores()), terms=TERMS)

        assert store.has(measured().cell, terms=TERMS)
        assert not store.has(measured(seed=2).cell, terms=TERMS)
        assert not store.has(measured(epsilon=3.0).cell, terms=TERMS)
        assert not store.has(measured(arm="pooled").cell, terms=TERMS)


def test_a_cell_of_other_settings_is_refused(tmp_path: Path) -> None:
    with Store.opened(tmp_path / "results.sqlite") as store:
        store.add(measured(scores()), terms=TERMS)
        with pytest.raises(ConfigError, match="trained under other settings"):
            store.has(measured().cell, terms=OTHERS)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"something else" * 100)
    with (
        pytest.raises(ConfigError, match="no results of `fed-sim compare`"),
        Store.opened(tmp_path / "results.sqlite"),
    ):
        pass
