"""The doctor's whole report on a small hospital, and what it says when something is wrong with the data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.end_to_end.processes import SCENARIO
from typer.testing import CliRunner

from fed_client.cli import app
from fed_client.config import SiteConfig, load_site_config
from fed_client.dataset.draft import SAME_PIXELS
from fed_client.dataset.manifest import Count, Manifest, Statistic
from fed_client.doctor.audit_log import check_audit_log
from fed_client.doctor.check import Check
from fed_client.doctor.data import check_data, examine
from fed_client.doctor.peers import check_peers
from fed_client.opening import register_configured
from fed_common.audit_log.facts import MessageRefused
from fed_common.audit_log.log import AuditLog
from fed_common.task import Task
from fed_sim.consortium import found_consortium
from fed_sim.phantoms import write_phantoms

SUBJECTS = {
    *("data set", "readable", "transfer syntaxes", "modalities", "views", "labels", "patients", "overlap"),
    *("text in pixels", "disk", "memory", "cores", "GPU", "server", "policy", "ledger", "budget"),
    *("signature", "own certificate", "peers", "audit log"),
}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    write_phantoms(folder / "hospitals", sites=2, seed=1, patients=(20, 12), test_patients=6)
    consortium = found_consortium(folder / "out", hospitals=folder / "hospitals", scenario=SCENARIO)
    return consortium.site_file(consortium.sites[0])


@pytest.fixture(scope="module")
def site(founded: Path) -> SiteConfig:
    return load_site_config(founded)


@pytest.fixture(scope="module")
def manifest(site: SiteConfig) -> Manifest:
    found = examine(site).manifest
    assert found is not None
    return found


def checked(manifest: Manifest, site: SiteConfig) -> dict[str, Check]:
    return {check.subject: check for check in check_data(manifest, site)}


def test_the_report_is_whole_and_its_exit_code_tells(founded: Path) -> None:
    ended = CliRunner().invoke(app, ["doctor", "--config", str(founded), "--json"])
    checks = json.loads(ended.stdout)
    assert {check["subject"] for check in checks} == SUBJECTS
    failures = {check["subject"] for check in checks if check["status"] == "failure"}
    assert failures == {"server"}  # nobody listens there
    assert ended.exit_code == 1
    assert all(check["advice"] for check in checks if check["status"] != "ok")


def test_an_audit_log_that_somebody_has_written_in_is_told_before_the_start_fails(
    site: SiteConfig, tmp_path: Path
) -> None:
    own = replace(site, state=tmp_path / "state")
    log = AuditLog(own.audit)
    log.write(own.name, MessageRefused(code="expired"))
    assert check_audit_log(own).found == "1 entries in one chain"
    own.audit.write_bytes(own.audit.read_bytes() * 2)
    told = check_audit_log(own)
    assert (told.status, "entry 1" in told.found) == ("failure", True)
    assert "move it aside" in told.advice


def test_a_trial_keeps_nothing(site: SiteConfig) -> None:
    examined = examine(site)
    assert (examined.check.status, examined.check.found[:14]) == ("warning", "not registered")
    assert examined.image_bytes > 0
    assert not site.datasets.exists()


def test_a_registered_data_set_is_ok_until_the_configuration_changes(
    site: SiteConfig, tmp_path: Path
) -> None:
    own = replace(site, state=tmp_path / "state")
    register_configured(own)
    assert examine(own).check.status == "ok"
    attested = replace(own, source=replace(own.source, defacing_attested=True))
    assert "another defacing_attested" in examine(attested).check.found


def test_a_folder_that_is_not_there_is_a_failure_with_advice(site: SiteConfig, tmp_path: Path) -> None:
    gone = replace(site, state=tmp_path, source=replace(site.source, images=tmp_path / "gone"))
    examined = examine(gone)
    assert (examined.manifest, examined.check.status) == (None, "failure")
    assert "[data]" in examined.check.advice


def test_a_table_shows_every_word_of_the_advice(founded: Path, tmp_path: Path) -> None:
    lines = founded.read_text().replace("hospital-1/images", "hospital-1/none")
    shutil.copytree(founded.parent.parent, tmp_path / "copy")
    moved = tmp_path / "copy" / founded.parent.name / "site.toml"
    moved.write_text(lines)
    shown = CliRunner().invoke(app, ["doctor", "--config", str(moved)], env={"COLUMNS": "250"}).stdout
    assert "see [data] in site.toml" in shown


def test_what_is_usable_is_judged_by_its_share(manifest: Manifest, site: SiteConfig) -> None:
    def with_left_out(count: int) -> str:
        left_out = (Count(name="PixelData is missing", count=count),)
        return checked(replace(manifest, quarantine=left_out), site)["readable"].status

    images = manifest.images
    assert [with_left_out(n) for n in (images // 40, images // 2, 2 * images)] == ["ok", "warning", "failure"]


def test_copies_are_no_unusable_images(manifest: Manifest, site: SiteConfig) -> None:
    copies = replace(manifest, quarantine=(Count(name=SAME_PIXELS, count=9 * manifest.images),))
    assert checked(copies, site)["readable"].status == "ok"


def test_several_modalities_are_a_warning_unless_the_task_names_them(
    manifest: Manifest, site: SiteConfig
) -> None:
    def judged(*modalities: str, task: Task) -> str:
        counts = tuple(Count(name=name, count=9) for name in modalities)
        mixed = replace(manifest, acquisition=(Statistic(name="modality", counts=counts),))
        return checked(mixed, replace(site, task=task))["modalities"].status

    named = replace(site.task, modalities=("CR", "DX"))
    assert judged("CR", task=site.task) == judged("CR", "DX", task=named) == "ok"
    assert judged("CR", "CT", task=site.task) == "warning"


def test_images_of_other_kinds_are_counted(manifest: Manifest, site: SiteConfig) -> None:
    left_out = (
        Count(name="another modality than the task's", count=7),
        Count(name="another view than the task's, or none stated", count=3),
    )
    checks = checked(replace(manifest, quarantine=left_out), site)
    assert ("7 images of other modalities" in checks["modalities"].found, checks["modalities"].status) == (
        True,
        "warning",
    )
    assert "3 images of other views" in checks["views"].found


def test_suspected_text_is_counted_and_the_detector_named(manifest: Manifest, site: SiteConfig) -> None:
    left_out = (Count(name="suspected burned-in text in the pixels", count=4),)
    seen = replace(manifest, quarantine=left_out, detector="contrast and tesseract")
    assert checked(seen, site)["text in pixels"].found.startswith("4 images left out; looked for by contrast")
    alone = replace(manifest, detector="contrast")
    assert "tesseract-ocr" in checked(alone, site)["text in pixels"].advice


def test_too_few_patients_for_the_policy_are_a_failure(manifest: Manifest, site: SiteConfig) -> None:
    strict = replace(site, terms=replace(site.terms, policy=replace(site.policy, min_patients=1000)))
    assert checked(manifest, strict)["patients"].status == "failure"


def test_reports_that_are_not_used_are_a_warning(manifest: Manifest, site: SiteConfig) -> None:
    reasons = (Count(name="the report is partial", count=1), Count(name="the report is unverified", count=2))
    check = checked(replace(manifest, quarantine=reasons), site)["labels"]
    assert check.status == "warning"
    assert "3 reports are partial, unverified or preliminary, and not used" in check.found
    assert "accept_reports" in check.advice


def test_files_that_stand_for_patients_are_a_warning(manifest: Manifest, site: SiteConfig) -> None:
    assert checked(manifest, site)["patients"].status == "ok"
    check = checked(replace(manifest, files_as_patients=3), site)["patients"]
    assert check.status == "warning"
    assert "what is protected there is one file" in check.found
    assert "column patient" in check.advice


def test_labels_that_cannot_be_used_and_classes_hardly_there_are_warnings(
    manifest: Manifest, site: SiteConfig
) -> None:
    problems = replace(manifest, label_problems=(Count(name="unknown class", count=2),))
    assert "2 labels can't be used" in checked(problems, site)["labels"].found
    rare = tuple(
        replace(
            side,
            classes=tuple(
                replace(count, patients=0 if count.name == "lesion" else count.patients)
                for count in side.classes
            ),
        )
        for side in manifest.sides
    )
    assert "hardly any: lesion" in checked(replace(manifest, sides=rare), site)["labels"].found


def test_a_site_without_two_peers_is_told_that_it_refuses_masked_plans(site: SiteConfig) -> None:
    alone = check_peers(site)  # two hospitals were founded
    assert (alone.status, alone.found) == ("warning", "policy.peers names 1 other hospitals")
    policy = replace(site.policy, peers=(*site.policy.peers, "0" * 32), require_masks=True)
    enough = check_peers(replace(site, terms=replace(site.terms, policy=policy)))
    assert (enough.status, "up to 2 hospitals; others are refused" in enough.found) == ("ok", True)
    gone = check_peers(replace(site, identity=site.identity.with_name("gone.key")))
    assert (gone.status, "can't be read" in gone.found) == ("failure", True)
