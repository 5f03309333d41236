"""The diary holds every event once, in order, whatever a crash does to its last line."""

from pathlib import Path

import pytest
from tests.fakes import NORTH, privacy_of

from fed_common.errors import MachineError, MalformedMessageError
from fed_server.journal import (
    Journal,
    PhaseAsked,
    RunEvent,
    RunFinished,
    RunResumed,
    SiteAnswered,
    SiteFailed,
    WaitingForSites,
)

EVENTS: tuple[RunEvent, ...] = (
    RunResumed(round=3),
    WaitingForSites(round=4, online=(NORTH,), quorum=2),
    PhaseAsked(round=4, phase="train", attempt=1),
    SiteAnswered(round=4, phase="train", site=NORTH, privacy=privacy_of()),
    SiteFailed(round=4, phase="train", site=NORTH, code="late", detail='a "quoted",\n"fact":{}} detail'),
    RunFinished(rounds=4),
)


def written(folder: Path) -> Journal:
    journal = Journal(folder / "journal.jsonl")
    for event in EVENTS:
        journal.write(event)
    return journal


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    assert written(tmp_path).read() == EVENTS


def test_a_journal_that_was_never_written_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.mend()
    assert journal.read() == ()


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_left_out_and_the_next_starts_clean(tmp_path: Path, cut: int) -> None:
    journal = written(tmp_path)
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    assert journal.read() == EVENTS[:-1]
    journal.mend()
    journal.write(RunResumed(round=4))
    assert journal.read() == (*EVENTS[:-1], RunResumed(round=4))


DAMAGED = [
    b"",
    b"{}",
    b"\xff" * 80,
    b'{"at":1,"event":"\xff","fact":{}}',
    b'{"at":1,"event":"RunEnded","fact":{}}',
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_in_the_middle_is_malformed(tmp_path: Path, damage: bytes) -> None:
    journal = written(tmp_path)
    lines = journal.path.read_bytes().split(b"\n")
    lines[2] = damage
    journal.path.write_bytes(b"\n".join(lines))
    with pytest.raises(MalformedMessageError):
        journal.read()


def test_a_folder_that_is_gone_is_a_machine_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError):
        Journal(tmp_path / "gone" / "journal.jsonl").write(EVENTS[0])
