"""Labels by UID, from reports and from headers reach the right pictures, also those copied from a version."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.client.dataset.folders import TASK, Folder, reasons_of

from fed_client.dataset import Fractions, Version
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
