"""No model is let go without a passed audit of the code that made it, unless somebody says why in writing."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.audit_verdicts import PASSED
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, MODEL
from tests.server.runs import Run

from fed_common import canonical
from fed_common import checkpoint as checkpoints
from fed_common.audit import Release
from fed_common.errors import ConfigError, MalformedMessageError, PrivacyError
from fed_common.names import RunId, digest_of
from fed_server.release import load_audit, release_model
from fed_server.report import render_report
from fed_server.run_folder import RunFolder

AUDITED = Release(audit=PASSED, without_audit="")
UNAUDITED = Release(audit=None, without_audit="rehearsal <b>only</b>")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder.begin(tmp_path_factory.mktemp("runs"), "play")
    Run(folder).start()
    return folder


def released(folder: RunFolder, out: Path, release: Release = AUDITED) -> checkpoints.Manifest:
    return release_model(folder, MODEL, release, key=COORDINATOR_KEY, out=out)


@pytest.mark.parametrize("release", [AUDITED, UNAUDITED])
def test_a_published_model_carries_its_ground_in_the_signed_manifest(
    finished: RunFolder, tmp_path: Path, release: Release
) -> None:
    released(finished, tmp_path / "out", release)

    published = checkpoints.load(tmp_path / "out", MODEL, COORDINATOR_SIGNS)
    own = checkpoints.load(finished.path, MODEL, COORDINATOR_SIGNS)
    assert published.manifest == replace(own.manifest, release=release)
    assert own.manifest.release is None


def test_an_audit_of_other_code_publishes_nothing(finished: RunFolder, tmp_path: Path) -> None:
    other = replace(PASSED, code=digest_of(b"another release"))
    before = finished.journal.read()

    with pytest.raises(PrivacyError, match="answered with code"):
        released(finished, tmp_path / "out", Release(audit=other, without_audit=""))

    assert not (tmp_path / "out").exists()
    assert finished.journal.read() == before


def test_an_unfinished_run_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    with pytest.raises(ConfigError, match="not finished"):
        released(RunFolder(tmp_path, RunId("run-1")), tmp_path / "out", UNAUDITED)


def test_a_published_model_is_not_overwritten(finished: RunFolder, tmp_path: Path) -> None:
    released(finished, tmp_path / "out")
    with pytest.raises(ConfigError, match="already"):
        released(finished, tmp_path / "out", UNAUDITED)


def test_the_report_shows_the_audit_or_the_reason_to_go_without(finished: RunFolder, tmp_path: Path) -> None:
    released(finished, tmp_path / "audited")
    assert "a figure: in its bounds" in render_report(finished.journal.read(), None)

    released(finished, tmp_path / "unaudited", UNAUDITED)
    page = render_report(finished.journal.read(), None)
    assert "Published without an audit" in page
    assert "rehearsal &lt;b&gt;only&lt;/b&gt;" in page


def test_a_file_that_is_no_verdict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    with pytest.raises(ConfigError, match="can't be read"):
        load_audit(path)
    path.write_bytes(canonical.encode(PASSED) + b"\n")
    assert load_audit(path) == PASSED
    path.write_bytes(path.read_bytes().replace(b'"measured":1.0', b'"measured":"1.0"'))
    with pytest.raises(MalformedMessageError):
        load_audit(path)
