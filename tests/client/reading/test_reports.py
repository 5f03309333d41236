"""A report labels images with what it says is there, and never with what it denies or doubts."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, uid
from tests.client.dicom_files import file_bytes, image_dataset, write
from tests.client.reading.report_files import (
    ABSENT,
    EVALUATIONS,
    FINDING,
    GROUP,
    IMPRESSION,
    NODULE,
    NORMAL,
    PNEUMONIA,
    PRESENT,
    UNDETERMINED,
    by_reference,
    code,
    container,
    image,
    item,
    report,
)

from fed_client.images import Finding, SourceImage
from fed_client.reading import content, reports
from fed_client.reading.codes import MAX_CODES, coded_findings
from fed_client.reading.dicom import read_file
from fed_client.reading.reports import read_findings
from fed_common.errors import UnreadableImageError

SAMPLES = Path(__file__).parents[3].parent / "shared" / "data" / "dicom_samples" / "files"
SITE, PRESENCE, LUNG = "SCT:363698007", "SCT:705057003", "SCT:39607008"
MASS, CALCIFICATION = "SCT:4147007", "SCT:54115005"
BOTH = {"1.1", "1.2"}


def said(dataset: Dataset) -> dict[str, set[str]]:
    """Return the images of each code."""
    images: dict[str, set[str]] = {}
    for finding in read_findings(dataset):
        images.setdefault(finding.code, set()).add(finding.sop_instance_uid)
    return images


def refusal(dataset: Dataset) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        list(read_findings(dataset))
    return str(caught.value)


@pytest.mark.parametrize(
    "concept", ["DCM:121071", "DCM:121073", "DCM:121077", "LN:29308-4", "SCT:439401001", "SCT:282291009"]
)
def test_a_finding_is_about_all_images_of_the_procedure(concept: str) -> None:
    assert said(report(code(concept, PNEUMONIA))) == {PNEUMONIA: BOTH}


@pytest.mark.parametrize("kind", reports.REPORT_CLASSES)
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


NEGATIONS = {
    "answer absent": code(PNEUMONIA, ABSENT),
    "answer no": code(PNEUMONIA, "SCT:373067005"),
    "answer negative": code(PNEUMONIA, "SCT:260385009"),
    "value absent": code(FINDING, ABSENT),
    "modifier absent": code(FINDING, PNEUMONIA, code("99X:1", ABSENT, relationship="HAS CONCEPT MOD")),
    "modifier absent, SNOMED RT": code(
        FINDING, PNEUMONIA, code("99X:1", "SRT:R-4089B", relationship="HAS CONCEPT MOD")
    ),
    "modifier absent, the other code": code(
        FINDING, PNEUMONIA, code("99X:1", "SCT:2667000", relationship="HAS CONCEPT MOD")
    ),
    "presence absent": code(FINDING, PNEUMONIA, code(PRESENCE, ABSENT, relationship="HAS PROPERTIES")),
    "context known absent": code(
        FINDING, PNEUMONIA, code("SCT:408729009", "SCT:410516002", relationship="HAS PROPERTIES")
    ),
    "group absent": container(GROUP, code(FINDING, PNEUMONIA), code(PRESENCE, ABSENT)),
    "properties of what is absent": code(
        FINDING,
        MASS,
        code(PRESENCE, ABSENT, relationship="HAS PROPERTIES"),
        code(FINDING, PNEUMONIA, relationship="HAS PROPERTIES"),
    ),
}


@pytest.mark.parametrize("name", NEGATIONS)
def test_what_is_absent_is_no_finding_and_the_rest_of_the_report_counts(name: str) -> None:
    assert said(report(NEGATIONS[name], code(FINDING, NODULE))) == {NODULE: BOTH}


ELSEWHERE = ["LN:18834-2", "LN:11329-0", "LN:18785-6", "LN:55115-0", "LN:18783-1", "LN:55752-0", "DCM:111023"]


@pytest.mark.parametrize("heading", [*ELSEWHERE, "DCM:121068", "DCM:121060", "DCM:121109", "DCM:121062"])
def test_the_past_the_request_and_the_advice_are_no_findings(heading: str) -> None:
    section = container(heading, code(FINDING, PNEUMONIA), code(PNEUMONIA, PRESENT))
    assert said(report(section, code(FINDING, NODULE))) == {NODULE: BOTH}


@pytest.mark.parametrize("concept", ["DCM:121069", "DCM:121075", "DCM:121058", "DCM:121139"])
def test_other_elements_are_no_findings(concept: str) -> None:
    assert said(report(code(concept, PNEUMONIA))) == {}


def test_a_question_under_an_unknown_heading_is_no_finding() -> None:
    assert said(report(container("99X:ANAMNESIS", code(PNEUMONIA, PRESENT)))) == {}


def test_context_and_modifiers_are_no_findings() -> None:
    context = code(FINDING, PNEUMONIA, relationship="HAS OBS CONTEXT")
    modifier = code(FINDING, PNEUMONIA, relationship="HAS CONCEPT MOD")
    assert said(report(context, modifier, code(FINDING, NODULE))) == {NODULE: BOTH}


def test_a_normal_part_is_no_normal_image() -> None:
    site = code(SITE, LUNG, relationship="HAS CONCEPT MOD")
    group = container(GROUP, code(FINDING, NORMAL), site)
    assert said(report(code(FINDING, NORMAL, site), group)) == {}
    assert said(report(code(FINDING, NODULE, site))) == {NODULE: BOTH}
    assert said(report(code(FINDING, NORMAL))) == {NORMAL: BOTH}


UNCERTAIN = {
    "value": code(FINDING, UNDETERMINED),
    "answer": code(PNEUMONIA, UNDETERMINED),
    "evaluation": container(EVALUATIONS, code(PNEUMONIA, "SCT:415684004")),
    "modifier": code(FINDING, PNEUMONIA, code("99X:1", "SCT:42425007", relationship="HAS CONCEPT MOD")),
    "property": code(FINDING, NODULE, code(CALCIFICATION, ABSENT, relationship="HAS PROPERTIES")),
    "presence in other words": code(
        FINDING, NODULE, code(PRESENCE, "99X:RATHER-NOT", relationship="HAS PROPERTIES")
    ),
    "certainty in percent": code(FINDING, NODULE, item("NUM", "HAS PROPERTIES", "DCM:111012")),
    "group": container(GROUP, code(FINDING, NODULE), code(PRESENCE, UNDETERMINED)),
    "elsewhere": container(
        "LN:59776-5",
        code(FINDING, NODULE, by_reference(1, 2, 2, relationship="HAS PROPERTIES")),
        code(PRESENCE, UNDETERMINED),
    ),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_doubt_makes_the_whole_report_unusable(name: str) -> None:
    dataset = report(code(FINDING, MASS), UNCERTAIN[name])
    assert refusal(dataset) == "the report is not certain of a finding"


OUT_OF_REACH = {
    "words": (
        code(FINDING, NODULE, item("TEXT", "HAS CONCEPT MOD", "99X:1")),
        "qualifies a finding in words",
    ),
    "a frame": (code(FINDING, NODULE, image("1.1", frame=3)), "names frames or segments"),
    "space": (code(FINDING, NODULE, item("SCOORD3D", "INFERRED FROM", "")), "places a finding in space"),
    "a volume": (
        container(GROUP, code(FINDING, NODULE), item("SCOORD3D", "CONTAINS", "DCM:111030")),
        "places a finding in space",
    ),
    "nowhere": (code(FINDING, NODULE, by_reference(1, 9)), "points to an item that it doesn't have"),
    "before the first": (code(FINDING, NODULE, by_reference(1, 0)), "points to an item that it doesn't have"),
    "no UID": (code(FINDING, NODULE, image("CANARY7341")), "ReferencedSOPInstanceUID must be a UID"),
}


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_what_a_label_cant_express_is_refused(name: str) -> None:
    statement, reason = OUT_OF_REACH[name]
    refused = refusal(report(code(FINDING, MASS), statement))
    assert reason in refused
    assert "CANARY" not in refused


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SRT:M-03010", "SCT:27925004"),
        ("SNM3:M-03010", "SCT:27925004"),
        ("99SDM:M-03010", "SCT:27925004"),
        ("SRT:X-99999", "SRT:X-99999"),
        ("I10:J18.9", "I10:J18.9"),
        ("SCT:12345678901234567", "SCT:12345678901234567"),
    ],
)
def test_codes_come_in_one_form(old: str, new: str) -> None:
    assert said(report(code(FINDING, old))) == {new: BOTH}


@pytest.mark.parametrize("bad", ["sct:1", "SCT:", ":1", "SCT:a b", "SCT:ü", "MUCHTOOLONGASCHEME:1"])
def test_what_is_no_code_is_no_finding(bad: str) -> None:
    assert said(report(code(FINDING, bad), code(FINDING, NODULE))) == {NODULE: BOTH}


def test_a_concept_in_snomed_rt_is_understood() -> None:
    site = code("SRT:G-C0E3", LUNG, relationship="HAS CONCEPT MOD")
    assert said(report(code(FINDING, NORMAL, site))) == {}


def test_a_report_about_no_image_says_nothing() -> None:
    assert said(report(code(FINDING, PNEUMONIA), evidence=())) == {}


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


def test_a_header_says_with_which_diagnosis_the_patient_came(tmp_path: Path) -> None:
    diagnoses = Sequence(
        [*code("", PNEUMONIA).ConceptCodeSequence, *code("", "SRT:M-03010").ConceptCodeSequence]
    )
    dataset = image_dataset(
        AdmittingDiagnosesCodeSequence=diagnoses,
        ReasonForRequestedProcedureCodeSequence=code("", MASS).ConceptCodeSequence,
    )
    (found,) = read_file(write(tmp_path / "image.dcm", dataset), "each")
    assert isinstance(found, SourceImage)
    assert found.facts.codes == (PNEUMONIA, "SCT:27925004")


def test_the_codes_of_a_header_are_bounded_and_checked() -> None:
    dataset = image_dataset()
    many = [code("", f"SCT:{number}").ConceptCodeSequence[0] for number in range(MAX_CODES + 9)]
    dataset.AdmittingDiagnosesCodeSequence = Sequence([*code("", "no code").ConceptCodeSequence, *many])
    assert len(coded_findings(dataset)) == MAX_CODES - 1
    assert coded_findings(image_dataset()) == ()


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
