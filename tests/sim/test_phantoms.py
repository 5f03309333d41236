import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fed_client.dataset.public import load_public_test
from fed_common.errors import ConfigError
from fed_common.seeds import stream
from fed_common.task import load_task
from fed_sim.anatomy import SOFT_TISSUE, draw_body
from fed_sim.dicom_writer import SOP_CLASS
from fed_sim.hospitals import size_class
from fed_sim.phantoms import write_phantoms
from fed_sim.scanners import scanner_of

FOLDERS = ("hospital-1", "hospital-2", "hospital-3", "public-test")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("federation")
    write_phantoms(out, sites=3, seed=1, patients=(20, 24, 28), test_patients=24)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def labels_of(site: Path) -> dict[str, str]:
    header, *rows = (site / "labels.csv").read_text().splitlines()
    assert header == "file,label"
    return dict(row.split(",") for row in rows)


def headers_of(site: Path) -> dict[str, pydicom.FileDataset]:
    return {file: pydicom.dcmread(site / "images" / file) for file in labels_of(site)}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("first", 5), ("again", 5), ("other", 6)):
        write_phantoms(tmp_path / folder, sites=2, seed=seed, patients=(3, 3), test_patients=3)

    assert contents(tmp_path / "first") == contents(tmp_path / "again")
    assert contents(tmp_path / "first") != contents(tmp_path / "other")


def test_the_bytes_do_not_depend_on_the_number_of_threads() -> None:
    program = (
        "from hashlib import sha256\n"
        "from fed_common.seeds import stream\n"
        "from fed_sim.anatomy import draw_body\n"
        "from fed_sim.scanners import scanner_of\n"
        "body = draw_body(stream(1, 'body'), lesion=True)\n"
        "scans = [scanner_of(index).scan(body, stream(1, 'scan')) for index in range(6)]\n"
        "print([sha256(scan.tobytes()).hexdigest() for scan in scans])\n"
    )

    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }

    assert len(printed) == 1


def test_one_more_hospital_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "one", sites=1, seed=5, patients=(3,), test_patients=3)
    write_phantoms(tmp_path / "two", sites=2, seed=5, patients=(3, 3), test_patients=3)

    assert contents(tmp_path / "one" / "hospital-1") == contents(tmp_path / "two" / "hospital-1")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_has_a_label_and_the_hospitals_reader_takes_it(federation: Path, folder: str) -> None:
    site = federation / folder

    examples = load_public_test(site, load_task(federation / "task.toml"))

    files = {path.relative_to(site / "images").as_posix() for path in site.rglob("*.dcm")}
    assert files == set(labels_of(site))
    assert len(examples.labels_N) == len(files)
    assert examples.images_NCHW.std() > 0.5


@pytest.mark.parametrize(
    ("folder", "modality", "photometric", "bits"),
    [
        ("hospital-1", "CR", "MONOCHROME1", 12),
        ("hospital-2", "DX", "MONOCHROME2", 14),
        ("hospital-3", "CT", "MONOCHROME2", 12),
    ],
)
def test_each_hospital_has_its_own_kind_of_scanner(
    federation: Path, folder: str, modality: str, photometric: str, bits: int
) -> None:
    for header in headers_of(federation / folder).values():
        assert header.Modality == modality
        assert header.SOPClassUID == header.file_meta.MediaStorageSOPClassUID
        assert header.SOPClassUID == {str(key): uid for key, uid in SOP_CLASS.items()}[modality]
        assert header.PhotometricInterpretation == photometric
        assert (header.BitsAllocated, header.BitsStored, header.HighBit) == (16, bits, bits - 1)
        assert header.pixel_array.max() < 2**bits


@pytest.mark.parametrize("index", range(6))
def test_the_window_shows_the_middle_of_the_body(index: int) -> None:
    scanner = scanner_of(index)
    encoding = scanner.encoding
    stored_HW = scanner.scan(draw_body(stream(1, "body"), lesion=False), stream(1, "scan"))
    if encoding.signed:
        stored_HW = stored_HW.view(np.int16)

    real_HW = stored_HW * encoding.rescale_slope + encoding.rescale_intercept

    rows, columns = real_HW.shape
    middle_HW = real_HW[rows // 4 : -rows // 4, columns // 4 : -columns // 4]
    hidden_HW = np.abs(middle_HW - encoding.window_center) > encoding.window_width / 2
    assert hidden_HW.mean() < 0.25  # dense parts may saturate


def test_monochrome1_is_the_negative_of_monochrome2() -> None:
    negative = scanner_of(0)
    positive = replace(negative, encoding=replace(negative.encoding, photometric="MONOCHROME2"))
    body_HW = draw_body(stream(1, "body"), lesion=False)

    dark_HW, bright_HW = (scanner.scan(body_HW, stream(1, "scan")) for scanner in (negative, positive))

    whole_HW = (dark_HW > 0) & (bright_HW > 0)
    assert whole_HW.mean() > 0.9
    # One grey level for halves that are rounded the other way.
    mirror = 2 * negative.encoding.window_center - 1
    np.testing.assert_allclose(dark_HW[whole_HW], mirror - bright_HW[whole_HW], atol=1)


@pytest.mark.parametrize("index", [2, 5], ids=["unsigned, intercept -1024", "signed, intercept 0"])
def test_ct_is_in_hounsfield_units(index: int) -> None:
    scanner = replace(scanner_of(index), noise=0.0, shading=0.0)
    stored_HW = scanner.scan(draw_body(stream(1, "body"), lesion=False), stream(1, "scan"))
    if scanner.encoding.signed:
        stored_HW = stored_HW.view(np.int16)

    hounsfield_HW = stored_HW * scanner.encoding.rescale_slope + scanner.encoding.rescale_intercept

    assert hounsfield_HW[0, 0] == -1000  # air
    assert np.percentile(hounsfield_HW, 75) == pytest.approx(1500 * SOFT_TISSUE - 1000, abs=60)
    assert hounsfield_HW.max() > 200  # bone


def test_some_patients_have_several_images_and_all_have_one_label(federation: Path) -> None:
    site = federation / "hospital-3"
    labels = labels_of(site)
    labels_by_patient: dict[str, list[str]] = {}
    for file, header in headers_of(site).items():
        labels_by_patient.setdefault(header.PatientID, []).append(labels[file])

    assert {len(found) for found in labels_by_patient.values()} >= {1, 2}
    assert all(len(set(found)) == 1 for found in labels_by_patient.values())
    assert set(labels.values()) == {"normal", "lesion"}


def test_every_file_has_an_identity_to_find(federation: Path) -> None:
    for header in headers_of(federation / "hospital-1").values():
        name = str(header.PatientName)
        assert "^" in name
        assert header.PatientBirthDate < header.StudyDate
        assert header.AccessionNumber
        assert header.InstitutionName == "Phantom Hospital No. 1"
        assert header.private_block(0x0011, "PHANTOM SCANNER")[0x01].value == name
        assert name.replace("^", " ") in header.ImageComments


def test_no_two_images_share_a_uid_and_all_are_under_2_25(federation: Path) -> None:
    uids = [
        header.SOPInstanceUID for folder in FOLDERS for header in headers_of(federation / folder).values()
    ]

    assert len(set(uids)) == len(uids)
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)


def test_a_lesion_only_adds_density_and_only_in_one_place() -> None:
    for seed in range(20):
        healthy_HW, sick_HW = (draw_body(stream(seed, "body"), lesion=lesion) for lesion in (False, True))

        added_HW = sick_HW - healthy_HW

        assert added_HW.min() >= 0
        assert added_HW.max() > 0.01
        assert (added_HW > added_HW.max() / 2).mean() < 0.16


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    summary = write_phantoms(tmp_path / "out", sites=1, seed=1, patients=(123,), test_patients=2)

    site, labels = summary.sites[0], labels_of(tmp_path / "out" / "hospital-1")
    assert (site.num_patients, site.patients, site.num_images) == (123, 130, len(labels))
    assert site.prevalence == pytest.approx(0.35, abs=0.1)


@pytest.mark.parametrize(("patients", "public"), [(7, 7), (99, 99), (101, 110), (400, 400), (1234, 1300)])
def test_the_public_size_has_two_digits_and_is_never_smaller(patients: int, public: int) -> None:
    assert size_class(patients) == public


def test_a_folder_that_holds_something_is_refused(federation: Path) -> None:
    with pytest.raises(ConfigError, match="new or empty"):
        write_phantoms(federation, sites=1, seed=1)


@pytest.mark.parametrize("patients", [(5,), (5, 0)])
def test_sizes_that_fit_no_hospitals_are_refused(tmp_path: Path, patients: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="patients must be 2 numbers"):
        write_phantoms(tmp_path, sites=2, seed=1, patients=patients)
