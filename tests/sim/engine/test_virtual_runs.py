"""A run of virtual sites that is killed goes on as if it hadn't been: the same bytes, the same charges."""

from pathlib import Path

import pytest
from tests.sim.engine.virtual_runs import PRIVATE, UNPROTECTED, Moment, killed_run, whole_run

from fed_common.errors import ConfigError, DataError, MachineError
from fed_common.ledger_record import LedgerRecord
from fed_common.signing import VerifyingKey
from fed_sim.engine.opening import opened_run


@pytest.mark.parametrize(("number", "moment"), [(1, "trained"), (2, "trained"), (2, "counted")])
def test_a_killed_run_gives_the_bytes_of_one_that_was_not(
    tmp_path: Path, number: int, moment: Moment
) -> None:
    expected = whole_run(UNPROTECTED, tmp_path / "whole")

    killed_run(UNPROTECTED, tmp_path / "killed", number=number, moment=moment)
    found = whole_run(UNPROTECTED, tmp_path / "killed", workers=2)

    assert found.weights.model_P.tobytes() == expected.weights.model_P.tobytes()
    assert found.judged == expected.judged


def test_after_kills_each_ledger_charges_what_that_of_a_whole_run_does(tmp_path: Path) -> None:
    whole_run(PRIVATE, tmp_path / "whole")

    kills: list[tuple[int, Moment]] = [(1, "charged"), (2, "trained"), (2, "counted")]
    for number, moment in kills:
        killed_run(PRIVATE, tmp_path / "killed", number=number, moment=moment)
    whole_run(PRIVATE, tmp_path / "killed")

    expected = _charges(tmp_path / "whole")
    assert _charges(tmp_path / "killed") == expected
    assert sum(map(len, expected.values())) == 3 * 3  # rounds x sites in each


def test_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    first = whole_run(PRIVATE, tmp_path)
    before = _charges(tmp_path)

    again = whole_run(PRIVATE, tmp_path)

    assert again.weights.model_P.tobytes() == first.weights.model_P.tobytes()
    assert _charges(tmp_path) == before


def test_another_scenario_does_not_go_on_with_a_run(tmp_path: Path) -> None:
    whole_run(UNPROTECTED, tmp_path)
    other = UNPROTECTED.model_copy(update={"name": "other"})

    with pytest.raises(ConfigError, match="scenario changed"):
        whole_run(other, tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    whole_run(UNPROTECTED, tmp_path)
    state = bytearray((tmp_path / "state").read_bytes())
    state[-1] ^= 1
    (tmp_path / "state").write_bytes(state)

    with pytest.raises(DataError, match="damaged"):
        whole_run(UNPROTECTED, tmp_path)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        opened_run(UNPROTECTED, tmp_path, workers=0),
        pytest.raises(MachineError, match="another fed-sim"),
        opened_run(UNPROTECTED, tmp_path, workers=0),
    ):
        pass


def _charges(folder: Path) -> dict[str, list[object]]:
    """Return what each site's ledger, verified line by line, charges."""
    key = VerifyingKey.load(folder / "identity.pub")
    return {
        path.parent.name: [
            (event.kind, event.site, event.round, event.unit, event.dataset, event.policy, event.spend)
            for event in LedgerRecord.read(path, key).events
        ]
        for path in sorted((folder / "sites").glob("*/ledger.jsonl"))
    }
