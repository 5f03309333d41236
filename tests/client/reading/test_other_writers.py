"""What DCMTK and GDCM compress is unpacked to the pixels that they unpack themselves."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, uid
from tests.client.dicom_files import Pixels, image_dataset, write
from tests.client.reading.dicom_files import frames_of
from tests.client.reading.independent import MISSING, decoded_elsewhere

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

ROWS, COLUMNS = np.mgrid[0:70, 0:96]
SMOOTH = (2000 + 1500 * np.sin(COLUMNS / 9) * np.cos(ROWS / 7)).astype(np.uint16)
SIGNED = SMOOTH.astype(np.int16) - np.int16(2000)
WAVES = [np.sin(COLUMNS / 9), np.cos(ROWS / 7), np.sin((ROWS + COLUMNS) / 11)]
COLOURS = np.stack([128 + 100 * wave for wave in WAVES], axis=2).astype(np.uint8)

PICTURES: dict[str, tuple[Pixels, dict[str, object]]] = {
    "12 bits": (SMOOTH, {"BitsStored": 12, "HighBit": 11}),
    "16 bits": (SMOOTH * np.uint16(16), {}),
    "signed": (SIGNED, {}),
    "signed 12 bits": (
        (SIGNED & np.int16(0xFFF)).astype(np.uint16),
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
    ),
    "8 bits": (COLOURS[..., 0].copy(), {}),
    "colour": (COLOURS, {}),
}
EXACT = [
    "dcmcjpeg +e1",  # lossless, selection value 1
    "dcmcjpeg +el",  # lossless, process 14
    "dcmcjpls +is",  # interleaved by sample
    "dcmcjpls +il",  # by line
    "dcmcjpls +in",  # by plane
    "dcmcrle",
    "gdcmconv --j2k",
    "gdcmconv --jpeg",
    "gdcmconv --jpegls",
    "gdcmconv --rle",
    "dcmconv +tb",  # big endian
    "dcmconv +ti",  # implicit
    "dcmconv +td",  # deflated
]
LOSSY = [
    "dcmcjpeg +eb",  # baseline, 4:2:2 in colour
    "dcmcjpeg +eb +s4",  # 4:4:4
    "dcmcjpeg +eb +cr",  # RGB
    "dcmcjpeg +ee",  # extended, 12 bits if there are so many
    "gdcmconv --j2k --lossy -r 10",
]


def file_of(name: str, folder: Path) -> Path:
    pixels, elements = PICTURES[name]
    photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    dataset = image_dataset(pixels, patient="P1", photometric=photometric, **elements)
    dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    return write(folder / "plain.dcm", identified(dataset))


def identified(dataset: Dataset) -> Dataset:
    dataset.PatientName, dataset.Modality = "Phantom", "OT"
    return dataset


def rewritten(plain: Path, command: str) -> Path:
    target = plain.with_name("rewritten.dcm")
    subprocess.run([*command.split(), plain, target], check=True, capture_output=True, timeout=60)
    return target


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("command", EXACT)
def test_lossless_files_of_others_hold_the_same_picture(tmp_path: Path, name: str, command: str) -> None:
    plain = file_of(name, tmp_path)
    (before,), (after,) = frames_of(plain), frames_of(rewritten(plain, command))
    assert np.array_equal(after.stored_HW, before.stored_HW)
    assert after.facts.pixels == before.facts.pixels


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("command", LOSSY)
def test_lossy_files_of_others_are_unpacked_as_they_do_it(tmp_path: Path, name: str, command: str) -> None:
    target = rewritten(file_of(name, tmp_path), command)
    (ours,) = frames_of(target)
    _, theirs = decoded_elsewhere(target, tmp_path)
    assert theirs is not None
    assert np.array_equal(ours.stored_HW, theirs[0])


def test_a_near_lossless_file_is_near(tmp_path: Path) -> None:
    plain = file_of("colour", tmp_path)
    (near,) = frames_of(rewritten(plain, "dcmcjpls +en +md 2"))
    difference = near.stored_HW.astype(int) - COLOURS
    assert 0 < np.abs(difference).max() <= 2
