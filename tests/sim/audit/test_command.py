"""What `fed-sim audit` writes and how it ends."""

from pathlib import Path

import pytest
from tests.audit_verdicts import FAILED, FAILS, PASSED

from fed_common.errors import PrivacyError
from fed_server.artefacts.release import load_audit
from fed_sim.audit.command import examine, report
from fed_sim.audit.hospital import SiteParts


def test_a_passed_audit_is_written_as_publish_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(PASSED, tmp_path / "audit.json")

    assert load_audit(tmp_path / "audit.json") == PASSED
    assert "epsilon 1.000 at delta 1e-05 per patient" in capsys.readouterr().out


def test_a_failed_audit_is_written_too_and_ends_with_what_failed(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match=FAILS.what):
        report(FAILED, tmp_path / "audit.json")

    assert load_audit(tmp_path / "audit.json") == FAILED


def test_a_fault_that_nothing_finds_is_named() -> None:
    with pytest.raises(PrivacyError, match="the audit missed: none at all"):
        examine({"none at all": SiteParts()})
