"""Codes of reports and headers come in one form, or don't come."""

from pathlib import Path

import pytest
from pydicom import Sequence
from tests.client.dicom_files import image_dataset, write
from tests.client.reading.report_files import (
    BOTH,
    FINDING,
    LUNG,
    MASS,
    NODULE,
    NORMAL,
    PNEUMONIA,
    code,
    report,
    said,
)

from fed_client.images import SourceImage
from fed_client.reading.bounds import MAX_CODES
from fed_client.reading.codes import coded_findings
from fed_client.reading.dicom import read_file


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
