"""Everyone who is turned away is counted, and a flood of them writes a handful of lines."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes import NORTH

from fed_common.audit_log.facts import RequestsRefused
from fed_common.audit_log.log import AuditLog
from fed_common.audit_log.refusals import Refusals


@dataclass
class Clock:
    now: float = 1000.0
    refusals: Refusals = field(init=False)

    def __call__(self) -> float:
        return self.now


def told(folder: Path) -> list[tuple[str, str, int]]:
    lines = AuditLog(folder / "log.jsonl").read()
    return [
        (line.entry.actor, line.fact.code, line.fact.count)
        for line in lines
        if isinstance(line.fact, RequestsRefused)
    ]


def counting(folder: Path) -> tuple[Refusals, Clock]:
    clock = Clock()
    return Refusals(log=AuditLog(folder / "log.jsonl"), clock=clock), clock


def test_a_refusal_is_told_at_once_and_by_name(tmp_path: Path) -> None:
    refusals, _ = counting(tmp_path)
    refusals.count("no-certificate", actor="stranger")
    refusals.count("certificate-refused", actor=NORTH)
    refusals.tell()
    refusals.tell()
    assert told(tmp_path) == [("stranger", "no-certificate", 1), ("north", "certificate-refused", 1)]


def test_a_day_of_knocking_writes_few_lines_and_loses_no_count(tmp_path: Path) -> None:
    refusals, clock = counting(tmp_path)
    for _ in range(8640):
        for _ in range(3):
            refusals.count("no-certificate", actor="stranger")
        refusals.tell()
        clock.now += 10.0
    refusals.tell(everything=True)
    lines = told(tmp_path)
    assert len(lines) < 50
    assert sum(count for _, _, count in lines) == 3 * 8640


def test_after_a_quiet_hour_the_next_refusal_is_told_at_once_again(tmp_path: Path) -> None:
    refusals, clock = counting(tmp_path)
    for _ in range(100):
        refusals.count("too-slow", actor="stranger")
        refusals.tell()
        clock.now += 1.0
    before = len(told(tmp_path))
    clock.now += 2 * 3600.0
    refusals.tell()
    clock.now += 2 * 3600.0
    for _ in range(2):
        refusals.count("too-slow", actor="stranger")
        refusals.tell()
        clock.now += 2.5
    assert len(told(tmp_path)) == before + 3


def test_a_disk_that_refuses_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    refusals = Refusals(log=AuditLog(tmp_path / "file" / "log.jsonl"))
    refusals.count("too-slow", actor="stranger")
    refusals.tell()
    assert "the audit log can't be written" in caplog.text
    Refusals(log=None).tell(everything=True)
