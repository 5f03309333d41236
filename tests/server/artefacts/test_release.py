"""No model is let go without a passed audit of the code that made it, unless somebody says why in writing."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.audit_verdicts import PASSED
from tests.fakes import (
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    EAST,
    MODEL,
    SOUTH,
    TASK,
    cosignature,
    new_key,
)
from tests.released_models import ROOT, SITE_SIGNS
from tests.server.runs import SETTINGS, Run

from fed_common import canonical
from fed_common import checkpoint as checkpoints
from fed_common.artefacts.model_release import ModelRelease
from fed_common.artefacts.opening import open_released
from fed_common.audit import Release
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.errors import ConfigError, MalformedMessageError, PrivacyError, QuorumError
from fed_common.names import RunId, digest_of
from fed_server.artefacts.release import ReleaseTerms, load_audit, release_model
from fed_server.journal import ModelReleased
from fed_server.report import render_report
from fed_server.run_folder import RunFolder

AUDITED = Release(audit=PASSED, without_audit="")
UNAUDITED = Release(audit=None, without_audit="rehearsal <b>only</b>")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder.begin(tmp_path_factory.mktemp("runs"), "play")
    Run(folder).start()
    return folder


EXPIRES = 2_000_000_000


def released(
    folder: RunFolder, out: Path, release: Release = AUDITED, *, cosigners: int | None = None
) -> ModelRelease:
    terms = ReleaseTerms(ground=release, expires=EXPIRES, log=EMPTY_LOG, cosigners=cosigners)
    return release_model(folder, MODEL, terms, key=COORDINATOR_KEY, site_keys=SITE_SIGNS, out=out)


@pytest.mark.parametrize("ground", [AUDITED, UNAUDITED])
def test_a_published_model_is_the_run_s_with_its_ground_in_a_signed_release(
    finished: RunFolder, tmp_path: Path, ground: Release
) -> None:
    released(finished, tmp_path / "out", ground)

    release, model = open_released(tmp_path / "out", ROOT, task=TASK, now=EXPIRES - 1)
    assert release.ground == ground
    assert model.manifest == checkpoints.load(finished.path, MODEL, COORDINATOR_SIGNS).manifest


def test_every_release_of_a_federation_has_a_higher_number(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = RunFolder.begin(tmp_path / "runs", "play")
        Run(folder).start()
        assert released(folder, tmp_path / f"out-{number}").number == number
    assert released(folder, tmp_path / "renewed").number == 3
    other = RunFolder.begin(tmp_path / "runs", "other")
    Run(other).start(settings=replace(SETTINGS, name="other"))
    assert released(other, tmp_path / "other").number == 1


def test_a_journal_that_was_torn_at_the_end_is_mended_before_the_release_is_told(tmp_path: Path) -> None:
    run = Run(RunFolder.begin(tmp_path, "play"))
    run.start()
    path = run.folder.journal.path
    path.write_bytes(path.read_bytes()[:-7])
    for number in (1, 2):  # nor does it stop the next
        assert released(run.folder, tmp_path / f"out-{number}").number == number
    told = run.folder.journal.read()[-1]
    assert isinstance(told, ModelReleased) and told.number == 2


def test_a_model_that_too_few_sites_signed_is_not_let_go(tmp_path: Path) -> None:
    run = Run(RunFolder.begin(tmp_path, "play"))
    for site in (EAST, SOUTH):
        run.cosigners[site] = partial(cosignature, site=site, key=new_key())
    run.start()
    with pytest.raises(QuorumError, match="co-signed by 1 of 3 sites, 2 must"):
        released(run.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert released(run.folder, tmp_path / "out", cosigners=1).number == 1


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
