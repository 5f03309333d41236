"""A log holds every event once, in order, and names the entry at which somebody has touched it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fakes import NORTH, RUN

from fed_common import canonical
from fed_common.audit_log.entry import Line, next_entry
from fed_common.audit_log.facts import JournalWritten, MessageRefused, PlanAsked, RequestsRefused
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.audit_log.log import AuditLog
from fed_common.audit_log.merkle import prove_consistency, root, verify_consistency
from fed_common.errors import MachineError, TrustError
from fed_common.files import locked
from fed_common.names import digest_of

ASKED = PlanAsked(run=RUN, round=1, phase="train", plan=digest_of(b"plan"), parameters=digest_of(b"model"))
JOURNAL = JournalWritten(run=RUN, line=digest_of(b"a line"))
REFUSED = RequestsRefused(code="no-certificate", count=3)


def written(folder: Path) -> AuditLog:
    log = AuditLog(folder / "audit" / "log.jsonl")
    log.write("coordinator", ASKED)
    log.write("stranger", REFUSED)
    log.write("coordinator", JOURNAL)
    return log


def edited(log: AuditLog, number: int, change: dict[str, object]) -> None:
    lines = log.path.read_bytes().split(b"\n")
    line = json.loads(lines[number])
    line["entry"].update({key: value for key, value in change.items() if key in line["entry"]})
    if line["fact"]:
        line["fact"].update({key: value for key, value in change.items() if key in line["fact"]})
    lines[number] = json.dumps(line, sort_keys=True, separators=(",", ":")).encode()
    log.path.write_bytes(b"\n".join(lines))


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    lines = written(tmp_path).read()
    assert [line.fact for line in lines] == [ASKED, REFUSED, JOURNAL]
    assert [(line.entry.seq, line.entry.actor) for line in lines] == [
        (0, "coordinator"), (1, "stranger"), (2, "coordinator"),
    ]  # fmt: skip
    assert abs(lines[0].entry.ts - time.time()) < 60
    assert lines[0].entry.data == canonical.digest(ASKED)


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log.jsonl")
    assert (log.read(), log.head()) == ((), EMPTY_LOG)


def test_no_head_is_told_of_a_line_that_another_process_may_still_take_back(tmp_path: Path) -> None:
    log = written(tmp_path)
    before, appended = log.path.read_bytes(), threading.Event()
    entry = next_entry(log.read()[-1].entry, ts=1, actor="stranger", fact=REFUSED)

    def fail() -> None:
        with locked(log.path.with_suffix(".lock")):
            log.path.write_bytes(before + Line(entry=entry, fact=REFUSED).encode() + b"\n")
            appended.set()
            time.sleep(0.2)  # a slow disk, which refuses in the end
            log.path.write_bytes(before)

    with ThreadPoolExecutor() as pool:
        failing = pool.submit(fail)
        assert appended.wait(10)
        assert log.head().size == 3
        failing.result()
    log.write("coordinator", JOURNAL)


def test_the_head_is_the_root_of_the_tree_of_all_entries(tmp_path: Path) -> None:
    log = written(tmp_path)
    leaves = [line.entry.leaf for line in log.read()]
    assert log.head().size == 3
    assert log.head().root == root(leaves).hex()


def test_two_processes_write_one_log(tmp_path: Path) -> None:
    one = written(tmp_path)
    other = AuditLog(one.path)
    other.write(NORTH, REFUSED)
    one.write(NORTH, REFUSED)
    assert one.head() == other.head()
    assert [line.entry.seq for line in one.read()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_what_a_crash_has_torn_is_cut_off_and_the_next_line_starts_clean(tmp_path: Path, cut: int) -> None:
    log = written(tmp_path)
    log.path.write_bytes(log.path.read_bytes()[:-cut])
    again = AuditLog(log.path)
    assert again.head().size == 2
    again.write("coordinator", ASKED)
    assert [line.fact for line in again.read()] == [ASKED, REFUSED, ASKED]


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"ts": 1}),
        (0, {"actor": "somebody"}),
        (0, {"event": "PlanRefused"}),
        (0, {"plan": "another"}),
        (1, {"count": 4}),
        (1, {"seq": 2}),
        (1, {"prev": "0" * 64}),
        (1, {"actor": "a person, 1961-02-03"}),
    ],
)
def test_an_altered_line_is_named(tmp_path: Path, number: int, change: dict[str, object]) -> None:
    log = written(tmp_path)
    edited(log, number, change)
    with pytest.raises(TrustError, match=f"entry {number}|entry {number + 1}"):
        log.read()
    with pytest.raises(TrustError):
        AuditLog(log.path).write("coordinator", ASKED)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_line_that_was_taken_out_is_missed(tmp_path: Path, gone: int) -> None:
    log = written(tmp_path)
    lines = log.path.read_bytes().split(b"\n")
    log.path.write_bytes(b"\n".join(lines[:gone] + lines[gone + 1 :]))
    with pytest.raises(TrustError, match=f"entry {gone}"):
        log.read()


def test_a_log_that_is_cut_or_exchanged_while_it_is_in_use_is_not_gone_on_with(tmp_path: Path) -> None:
    log = written(tmp_path)
    whole = log.path.read_bytes()
    other = AuditLog(tmp_path / "other.jsonl")
    for _ in range(4):
        other.write("coordinator", ASKED)
    log.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(TrustError, match="are gone"):
        log.head()
    other.path.replace(log.path)
    with pytest.raises(TrustError, match="are others"):
        log.write("coordinator", ASKED)


def test_a_fact_can_be_let_go_and_everything_is_proved_as_before(tmp_path: Path) -> None:
    log = written(tmp_path)
    beside, head = AuditLog(log.path), log.head()
    beside.head()
    assert log.forget(before=1) == 0
    assert log.forget(before=1 << 40) == 3
    assert [line.fact for line in log.read()] == [None, None, None]
    assert log.head() == beside.head() == head
    beside.write("coordinator", ASKED)
    now, leaves = log.head(), [line.entry.leaf for line in log.read()]
    verify_consistency(
        prove_consistency(leaves, head.size),
        first=head.size,
        first_root=bytes.fromhex(head.root),
        second=now.size,
        second_root=bytes.fromhex(now.root),
    )


def test_where_the_disk_refuses_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "audit").write_bytes(b"a file in the place of the folder")
    with pytest.raises(MachineError):
        AuditLog(tmp_path / "audit" / "log.jsonl").write("coordinator", ASKED)


def test_a_line_is_small(tmp_path: Path) -> None:
    log = written(tmp_path)
    log.write("stranger", MessageRefused(code="expired"))
    assert all(len(Line.encode(line)) < 700 for line in log.read())
