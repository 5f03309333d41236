"""Labels by UID, from reports and from headers reach the right pictures, also those copied from a version."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.client.dataset.folders import TASK, Folder, reasons_of
from tests.client.dicom_files import write
from tests.client.reading.report_files import FINDING, code, report

from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version
from fed_common.task import ClassCodes

CODES = (ClassCodes(name="finding", codes=("SCT:1",)), ClassCodes(name="normal", codes=("SCT:2",)))
ALL = Fractions(validation=0, test=0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, task=replace(TASK, codes=CODES))


def admitted_for(*values: str) -> list[Dataset]:
    items = []
    for value in values:
        item = Dataset()
        item.CodingSchemeDesignator, item.CodeValue = "SCT", value
        items.append(item)
    return items


def images_by_class(version: Version) -> list[int]:
    return [count.images for count in version.manifest.sides[0].classes]


def test_a_list_by_uid_finds_its_images_and_their_copies(folder: Folder) -> None:
    for number in range(8):
        folder.add(number)
    folder.rows = ["sop_instance_uid,label", *(f"1.2.{n},{TASK.classes[n % 3 == 0]}" for n in range(7))]
    first = folder.register(fractions=ALL)
    assert images_by_class(first) == [4, 3]
    folder.rows[-1] = "1.2.7,finding"
    second = folder.register(fractions=ALL)
    assert images_by_class(second) == [4, 3]
    assert [path.name for path in folder.reader.paths] == ["007.dcm"]
    assert reasons_of(second) == {"there is no label for it": 1}


def test_headers_label_their_own_images_and_say_nothing_if_they_contradict(folder: Folder) -> None:
    for number in range(6):
        folder.add(number, AdmittingDiagnosesCodeSequence=admitted_for("12"[number % 2]))
    folder.add(6, AdmittingDiagnosesCodeSequence=admitted_for("1", "2"))
    folder.add(7)
    version = folder.register(fractions=ALL, labels_from="headers")
    assert images_by_class(version) == [3, 3]
    assert reasons_of(version) == {"its label can't be used": 2}
    again = folder.register(fractions=ALL, labels_from="headers")
    assert again.digest == version.digest
    assert sorted(path.name for path in folder.reader.paths) == ["006.dcm", "007.dcm"]


def report_on(folder: Folder, number: int, **flags: str) -> None:
    """Write a report that finds SCT:1 or SCT:2 in image `number`."""
    finding = code(FINDING, f"SCT:{2 - number % 2}")
    write(folder.images / f"report-{number}.dcm", report(finding, evidence=(f"1.2.{number}",), flags=flags))


def test_only_reports_that_are_the_last_word_label_unless_allowed(folder: Folder) -> None:
    for number in range(10):
        folder.add(number)
    for number in range(6):
        report_on(folder, number)
    report_on(folder, 6, VerificationFlag="UNVERIFIED")
    report_on(folder, 7, VerificationFlag="UNVERIFIED", PreliminaryFlag="PRELIMINARY")
    report_on(folder, 8, CompletionFlag="PARTIAL")
    strict = folder.register(fractions=ALL, labels_from="reports")
    assert images_by_class(strict) == [3, 3]
    assert reasons_of(strict) == {
        "the report is partial": 1,
        "the report is unverified": 1,
        "the report is unverified, preliminary": 1,
        "there is no label for it": 4,
    }
    folder.allowed = {"accept_reports": ("unverified",)}
    assert images_by_class(folder.register(fractions=ALL, labels_from="reports")) == [4, 3]
    folder.allowed = {"accept_reports": ("partial", "preliminary", "unverified")}
    assert images_by_class(folder.register(fractions=ALL, labels_from="reports")) == [5, 4]


def test_a_report_beside_a_list_is_counted_and_says_nothing(folder: Folder) -> None:
    for number in range(4):
        folder.add(number)
    report_on(folder, 0)
    folder.rows = ["sop_instance_uid,label", *(f"1.2.{n},{TASK.classes[n % 2]}" for n in range(4))]
    version = folder.register(fractions=ALL)
    assert images_by_class(version) == [2, 2]
    assert reasons_of(version) == {"a report, and labels don't come from reports": 1}


def test_a_doubtful_report_neither_labels_nor_contradicts(folder: Folder) -> None:
    for number in range(4):
        folder.add(number)
        report_on(folder, number)
    doubtful = report(code(FINDING, "SCT:1"), code(FINDING, "SCT:2"), flags={"CompletionFlag": "PARTIAL"})
    write(folder.images / "report.dcm", doubtful)
    assert images_by_class(folder.register(fractions=ALL, labels_from="reports")) == [2, 2]
