"""A file for which nobody is named is left out or, if the site allows it, a patient of its own."""

from pathlib import Path

import pytest
from tests.client.dataset.folders import TASK, Folder, reasons_of

from fed_client.dataset.manifest import warnings_of
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version

ALL = Fractions(validation=0, test=0)
REFUSED = "PatientID is missing: the patient unit is undefined"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return six images of three patients, and four of which two name nobody and two only spaces."""
    folder = Folder(tmp_path)
    for number in range(6):
        folder.add(number, patient=f"P{number % 3}")
    for number in range(6, 10):
        folder.add(number, PatientID=" " * (number % 2))
    return folder


def patients(version: Version) -> tuple[int, int]:
    return version.manifest.patients, version.manifest.files_as_patients


def read_again(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.reader.paths)


def test_they_are_left_out_unless_allowed(folder: Folder) -> None:
    version = folder.register(fractions=ALL)
    assert patients(version) == (3, 0)
    assert reasons_of(version) == {REFUSED: 4}
    assert warnings_of(version.manifest) == ()


def test_allowed_each_is_a_patient_and_a_warning_says_so(folder: Folder) -> None:
    folder.allowed = {"file_is_patient": True}
    version = folder.register(fractions=ALL)
    assert patients(version) == (7, 4)
    (warning,) = warnings_of(version.manifest)
    assert warning.startswith("4 of 7 patients are files for which nobody is named (file_is_patient)")


def test_they_are_copied_like_others_until_it_is_forbidden(folder: Folder) -> None:
    folder.allowed = {"file_is_patient": True}
    first = folder.register(fractions=ALL)
    again = folder.register(fractions=ALL)
    assert (again.digest, read_again(folder)) == (first.digest, [])
    folder.allowed = {}
    forbidden = folder.register(fractions=ALL)
    assert patients(forbidden) == (3, 0)
    assert reasons_of(forbidden) == {REFUSED: 4}


@pytest.mark.parametrize("column", ["file", "sop_instance_uid"])
def test_a_list_names_their_patients(folder: Folder, column: str) -> None:
    folder.allowed = {"file_is_patient": True}
    listed = {6: "P9", 7: "p9 "}
    keys = [f"{number:03}.dcm" if column == "file" else f"1.2.{number}" for number in range(10)]
    folder.rows = [f"{column},label,patient"]
    folder.rows += [f"{key},{TASK.classes[n % 2]},{listed.get(n, '')}" for n, key in enumerate(keys)]
    assert patients(folder.register(fractions=ALL)) == (6, 2)
    folder.rows[8 + 1] += "P9"  # now the list names one more
    folder.rows[7 + 1] = folder.rows[7 + 1].replace("p9 ", "")  # and one less
    assert patients(folder.register(fractions=ALL)) == (6, 2)
    assert read_again(folder) == ["007.dcm", "008.dcm"]
    folder.allowed = {}
    assert reasons_of(folder.register(fractions=ALL)) == {REFUSED: 2}
