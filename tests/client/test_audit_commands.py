"""A hospital checks its own log, and what the coordinator hands out of the other one."""

import time
from pathlib import Path

import pytest
from tests.client.site_files import write_site
from tests.fakes import COORDINATOR_KEY, NORTH, SITE_KEYS, plan_of
from typer.testing import CliRunner

from fed_client.audit_commands import app
from fed_client.site_log import SiteLog
from fed_common.audit_log.facts import SiteOpened
from fed_common.audit_log.handed_out import CheckedLog, export_log
from fed_common.audit_log.log import AuditLog
from fed_common.errors import FedError, TrustError
from fed_common.messages import PlanStatement
from fed_common.names import body_digest, digest_of
from fed_server.coordinator_log import CoordinatorLog

OPENED = SiteOpened(dataset=digest_of(b"data"), policy=digest_of(b"policy"), code=digest_of(b"code"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_site(tmp_path, identity=SITE_KEYS[NORTH])


def audit(config: Path, *arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*map(str, arguments), "--config", str(config)])
    if isinstance(result.exception, FedError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def log_of(config: Path) -> AuditLog:
    return AuditLog(config.parent / "state/audit/log.jsonl")


def copy_of(log: AuditLog, path: Path) -> Path:
    path.write_bytes(export_log(CheckedLog(owner="coordinator", lines=log.read()), COORDINATOR_KEY))
    return path


def test_the_coordinator_s_copy_must_have_every_head_that_came_with_a_plan(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, plan = AuditLog(tmp_path / "theirs.jsonl"), plan_of()
    head = CoordinatorLog(theirs).asked(plan)
    statement = PlanStatement(plan=plan, expires=1, body=body_digest(b""), log=head)
    log_of(config).write(NORTH, OPENED)
    SiteLog(site=NORTH, log=log_of(config)).accepted(statement)
    assert "2 logs agree" in audit(config, "verify", copy_of(theirs, tmp_path / "copy.json"))
    # The coordinator has moved its clock, and writes the same again.
    theirs.path.write_bytes(b"")
    monkeypatch.setattr(time, "time", lambda: 1e9)
    CoordinatorLog(AuditLog(theirs.path)).asked(plan)
    with pytest.raises(TrustError, match="north has seen coordinator's log with 1 entries"):
        audit(config, "verify", copy_of(theirs, tmp_path / "copy.json"))


def test_a_site_s_own_log_is_shown_and_an_altered_entry_is_named(config: Path) -> None:
    log_of(config).write(NORTH, OPENED)
    assert "north SiteOpened: dataset " in audit(config, "show")
    assert "north: 1 entries" in audit(config, "verify")
    raw = log_of(config).path.read_bytes()
    log_of(config).path.write_bytes(raw.replace(OPENED.code.encode(), digest_of(b"other").encode()))
    with pytest.raises(TrustError, match="entry 0"):
        audit(config, "verify")
