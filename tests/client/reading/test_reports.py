"""A report labels images with what it says is there, and never with what it denies or doubts."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from tests.client.dicom_files import file_bytes, image_dataset, write
from tests.client.reading.report_files import (
    ABSENT,
    BOTH,
    EVALUATIONS,
    FINDING,
    GROUP,
    IMPRESSION,
    MASS,
    NODULE,
    NORMAL,
    PNEUMONIA,
    PRESENT,
    by_reference,
    code,
    container,
    image,
    item,
    refusal,
    report,
    said,
)

from fed_client.images import Finding
from fed_client.reading import content, reports
from fed_client.reading.dicom import read_file
from fed_common.errors import UnreadableImageError

SAMPLES = Path(__file__).parents[3].parent / "shared" / "data" / "dicom_samples" / "files"


@pytest.mark.parametrize(
    "concept", ["DCM:121071", "DCM:121073", "DCM:121077", "LN:29308-4", "SCT:439401001", "SCT:282291009"]
)
def test_a_finding_is_about_all_images_of_the_procedure(concept: str) -> None:
    assert said(report(code(concept, PNEUMONIA))) == {PNEUMONIA: BOTH}


@pytest.mark.parametrize("kind", sorted(reports.REPORT_CLASSES))
def test_every_kind_of_report_is_read_from_a_file(tmp_path: Path, kind: uid.UID) -> None:
    path = write(tmp_path / "report.dcm", report(code(FINDING, PNEUMONIA), kind=kind))
    found = list(read_file(path, "each"))
    assert {(f.sop_instance_uid, f.code) for f in found if isinstance(f, Finding)} == {
        ("1.1", PNEUMONIA),
        ("1.2", PNEUMONIA),
    }


def test_a_finding_that_points_to_an_image_is_about_that_one() -> None:
    region = item("SCOORD", "INFERRED FROM", "", image("1.2", relationship="SELECTED FROM"))
    dataset = report(
        code(FINDING, PNEUMONIA, image("1.1")), code(FINDING, NODULE, region), code(IMPRESSION, MASS)
    )
    assert said(dataset) == {PNEUMONIA: {"1.1"}, NODULE: {"1.2"}, MASS: BOTH}


def test_an_image_elsewhere_in_the_tree_is_found() -> None:
    region = item("SCOORD", "CONTAINS", "", by_reference(1, 1, relationship="SELECTED FROM"))
    dataset = report(
        image("1.1", relationship="CONTAINS"), region, code(FINDING, PNEUMONIA, by_reference(1, 2))
    )
    assert said(dataset) == {PNEUMONIA: {"1.1"}}


def test_references_in_a_circle_end(tmp_path: Path) -> None:
    first = code(FINDING, PNEUMONIA, by_reference(1, 2))
    second = code(FINDING, NODULE, by_reference(1, 1), image("1.2"))
    dataset = report(first, second)
    assert said(dataset) == {PNEUMONIA: {"1.2"}, NODULE: {"1.2"}}
    from_file = read_file(write(tmp_path / "report.dcm", dataset), "each")
    assert {f.code for f in from_file if isinstance(f, Finding)} == {PNEUMONIA, NODULE}


def test_a_measurement_group_shares_its_images() -> None:
    group = container(GROUP, code(FINDING, NODULE), image("1.1", relationship="CONTAINS"))
    other = container(GROUP, code(FINDING, MASS), image("1.2", relationship="CONTAINS"))
    assert said(report(container("DCM:126010", group, other))) == {NODULE: {"1.1"}, MASS: {"1.2"}}


def test_what_rests_on_another_finding_leaves_it_a_finding() -> None:
    evidence = code(FINDING, MASS, relationship="INFERRED FROM")
    assert said(report(code(IMPRESSION, PNEUMONIA, evidence))) == {PNEUMONIA: BOTH, MASS: BOTH}


def test_qualitative_evaluations_answer_or_ask() -> None:
    evaluations = container(
        EVALUATIONS, code("DCM:121402", NORMAL), code(PNEUMONIA, PRESENT), code(NODULE, ABSENT)
    )
    assert said(report(evaluations)) == {NORMAL: BOTH, PNEUMONIA: BOTH}


@pytest.mark.parametrize("yes", ["DCM:121053", "SCT:373066001", "SCT:10828004", "RADLEX:RID28472"])
def test_a_question_answered_with_yes_is_a_finding(yes: str) -> None:
    assert said(report(container("LN:59776-5", code(PNEUMONIA, yes)))) == {PNEUMONIA: BOTH}


def test_a_report_about_no_image_says_nothing() -> None:
    assert said(report(code(FINDING, PNEUMONIA), evidence=())) == {}


@pytest.mark.parametrize(
    ("flags", "flaws"),
    [
        ({}, ()),
        ({"PreliminaryFlag": "FINAL"}, ()),
        ({"PreliminaryFlag": "PRELIMINARY"}, ("preliminary",)),
        ({"VerificationFlag": "UNVERIFIED"}, ("unverified",)),
        ({"CompletionFlag": "PARTIAL"}, ("partial",)),
        ({"CompletionFlag": "YES", "PreliminaryFlag": "NO"}, ("partial", "preliminary")),
        ({"CompletionFlag": None, "VerificationFlag": None}, ("partial", "unverified")),
    ],
)
def test_a_finding_tells_what_speaks_against_its_report(
    tmp_path: Path, flags: dict[str, str | None], flaws: tuple[str, ...]
) -> None:
    dataset = report(code(FINDING, PNEUMONIA), evidence=("1.1",), flags=flags)
    (found,) = read_file(write(tmp_path / "report.dcm", dataset), "each")
    assert isinstance(found, Finding)
    assert found.flaws == flaws


def test_what_is_no_report_is_refused() -> None:
    assert "must be a report" in refusal(image_dataset())
    assert "must be a report" in refusal(report(kind=uid.KeyObjectSelectionDocumentStorage))
    empty = report()
    empty.ValueType = "TEXT"
    assert refusal(empty) == "the report has no content"


def nested(levels: int) -> Dataset:
    inner = code(FINDING, PNEUMONIA)
    for _ in range(levels):
        inner = container("LN:59776-5", inner)
    return inner


def test_a_deep_report_is_refused_before_it_overflows() -> None:
    assert said(report(nested(content.MAX_DEPTH - 1))) == {PNEUMONIA: BOTH}
    assert "levels" in refusal(report(nested(content.MAX_DEPTH)))


def test_a_large_report_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_ITEMS", 10)
    assert said(report(*[code(FINDING, NODULE)] * 9)) == {NODULE: BOTH}
    assert "more than 10 items" in refusal(report(*[code(FINDING, NODULE)] * 10))


@pytest.mark.parametrize(("limit", "value"), [("MAX_STATEMENTS", 2), ("MAX_FINDINGS", 4)])
def test_many_findings_are_refused(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(reports, limit, value)
    two = [code(FINDING, NODULE), code(FINDING, MASS)]
    assert said(report(*two)) == {NODULE: BOTH, MASS: BOTH}
    assert "findings" in refusal(report(*two, code(FINDING, PNEUMONIA)))


INTACT = file_bytes(
    report(
        container(GROUP, code(FINDING, NODULE), image("1.1", relationship="CONTAINS")),
        code(FINDING, PNEUMONIA, by_reference(1, 1)),
    )
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    cut=st.integers(0, len(INTACT)),
    changes=st.lists(st.tuples(st.integers(0, len(INTACT) - 1), st.integers(0, 255)), max_size=4),
)
def test_any_damage_reads_or_has_a_reason(
    tmp_path_factory: pytest.TempPathFactory, cut: int, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(INTACT)
    for position, value in changes:
        damaged[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged-report.dcm"
    path.write_bytes(damaged[:cut] if cut % 2 else damaged)
    try:
        found = list(read_file(path, "each"))
    except UnreadableImageError as error:
        assert "CANARY" not in str(error)
    else:
        assert "CANARY" not in "".join(f.code for f in found if isinstance(f, Finding))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of real files isn't here")
def test_real_reports_say_what_another_reader_shows() -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("DCMTK isn't installed")
    path = SAMPLES / "hid_766a92_sr_document_with_multiple_groups.dcm"
    shown = subprocess.run(
        [dsrdump, "+Pc", "+Pu", str(path)], capture_output=True, text=True, check=True
    ).stdout
    theirs = [line.rpartition("=(")[2].split(",")[0] for line in shown.splitlines() if '"Finding")=' in line]
    found = [f for f in read_file(path, "each") if isinstance(f, Finding)]
    assert [f.code for f in found] == [f"SCT:{value}" for value in theirs]
    assert len(theirs) == 3
    assert all(f'"{f.sop_instance_uid}"' in shown for f in found)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of real files isn't here")
def test_a_real_report_about_segments_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="names frames or segments"):
        list(read_file(SAMPLES / "rob_356a3f_sr.dcm", "each"))
    (spinal_cord,) = read_file(SAMPLES / "hid_1c291a_sr_document.dcm", "each")
    assert isinstance(spinal_cord, Finding)
    assert spinal_cord.code == "SCT:2748008"  # T-A7010 in SNOMED RT
