"""What a DICOM file may not be or say, and what must never come of it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pydicom.config import disable_value_validation
from tests.client.dicom_files import claim_syntax, file_bytes, image_dataset, write
from tests.client.reading.dicom_files import CANARY, frames_of, refusal, units

from fed_common.errors import UnreadableImageError

REFUSED: dict[str, tuple[Callable[[], Dataset], str]] = {
    "truncated pixels (29)": (lambda: image_dataset(PixelData=b"\0" * 22), "shorter"),
    "Rows is a lie (30)": (lambda: image_dataset(Rows=65535), "shorter"),
    "more pixels than are read": (lambda: image_dataset(Rows=65535, Columns=65535), "Columns must be in"),
    "a million frames (31)": (lambda: image_dataset(NumberOfFrames=10**6), "NumberOfFrames must be in"),
    "two frames": (lambda: image_dataset(NumberOfFrames=2), "shorter"),
    "no pixels (32)": (lambda: image_dataset(PixelData=None), "PixelData is missing"),
    "empty pixels (33)": (lambda: image_dataset(PixelData=b""), "PixelData is missing"),
    "no Rows (34)": (lambda: image_dataset(Rows=None), "Rows must be in"),
    "Rows is 0 (35)": (lambda: image_dataset(Rows=0), "Rows must be in"),
    "bits (36)": (lambda: image_dataset(BitsStored=17, HighBit=16), "BitsStored must be in"),
    "32 bits": (lambda: image_dataset(BitsAllocated=32), "shorter"),
    "64 bits": (lambda: image_dataset(BitsAllocated=64), "BitsAllocated must be in"),
    "1 bit": (lambda: image_dataset(BitsAllocated=1), "BitsAllocated must be in"),
    "12 bits packed": (
        lambda: image_dataset(BitsAllocated=12, BitsStored=12, HighBit=11),
        "BitsAllocated must be 8, 16 or 32",
    ),
    "shifted bits": (lambda: image_dataset(BitsStored=12, HighBit=15), "HighBit must be 11"),
    "no sign": (lambda: image_dataset(PixelRepresentation=None), "PixelRepresentation must be in"),
    "photometric (37)": (
        lambda: image_dataset(photometric=CANARY),
        "PhotometricInterpretation must be one of",
    ),
    "palette": (lambda: image_dataset(photometric="PALETTE COLOR"), "LookupTableDescriptor must be 3"),
    "samples": (lambda: image_dataset(SamplesPerPixel=3), "SamplesPerPixel must be 1"),
    "slope NaN (43)": (lambda: image_dataset(RescaleSlope="NaN"), "finite"),
    "slope 1e308 (43)": (lambda: image_dataset(RescaleSlope="1e308"), "finite"),
    "slope 0": (lambda: image_dataset(RescaleSlope=0), "the slope not 0"),
    "intercept NaN": (lambda: image_dataset(RescaleIntercept="NaN"), "finite"),
    "intercept inf": (lambda: image_dataset(RescaleIntercept="-inf"), "finite"),
    "modality table": (lambda: image_dataset(ModalityLUTSequence=[Dataset()]), "LUTDescriptor must be 3"),
    "a report": (lambda: image_dataset(SOPClassUID=uid.BasicTextSRStorage), "the report has no content"),
    "a segmentation": (lambda: image_dataset(SOPClassUID=uid.SegmentationStorage), "SOPClassUID"),
    "floats": (
        lambda: image_dataset(PixelData=None, FloatPixelData=np.zeros(12, np.float32).tobytes()),
        "floating-point",
    ),
    "odd 4:2:2": (
        lambda: image_dataset(np.zeros((2, 3, 3), np.uint8), photometric="YBR_FULL_422"),
        "Columns must be even",
    ),
    "no class": (lambda: image_dataset(SOPClassUID=None), "SOPClassUID"),
    "no identity": (lambda: image_dataset(SOPInstanceUID=None), "SOPInstanceUID is missing"),
    "two patients": (lambda: image_dataset(PatientID=[CANARY, "B"]), "PatientID must be a single text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_image_is_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    refused = refusal(write(tmp_path / CANARY / "image.dcm", make()))
    assert reason in refused
    assert CANARY not in refused


def test_a_text_longer_than_any_identifier_is_refused(tmp_path: Path) -> None:
    with disable_value_validation():
        path = write(tmp_path / "image.dcm", image_dataset(PatientID="P" * 257))
        assert refusal(path) == "PatientID must have at most 256 characters"
        assert frames_of(write(path, image_dataset(PatientID="P" * 256)))


@pytest.mark.parametrize("contents", [b"DICM", b"\x89PNG" * 99])
def test_what_is_no_dicom_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(contents)
    assert refusal(path).startswith("damaged, or no DICOM file")


def test_an_empty_file_and_one_without_a_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(b"")
    assert refusal(path) == "the file is empty"
    path.write_bytes(b"\0" * 128 + b"DICM")
    assert refusal(path) == "the transfer syntax is none that is read here"


def test_unknown_transfer_syntaxes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(claim_syntax(file_bytes(image_dataset()), f"1.2.{CANARY}"))
    assert refusal(path) == "the transfer syntax is none that is read here"


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGBaseline8Bit, uid.RLELossless])
def test_pixels_must_be_packed_as_the_syntax_says(tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(claim_syntax(file_bytes(image_dataset()), syntax))
    assert refusal(path) == "PixelData and the transfer syntax disagree about compression"


def test_links_pipes_folders_and_devices_are_not_opened(tmp_path: Path) -> None:
    target = write(tmp_path / "real.dcm", image_dataset())
    (tmp_path / "link.dcm").symlink_to(target)
    (tmp_path / "folder.dcm").mkdir()
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "can't be opened" in refusal(tmp_path / "link.dcm")
    assert refusal(tmp_path / "folder.dcm") == "not a regular file"
    assert "can't be opened" in refusal(tmp_path / CANARY / "missing.dcm")
    assert refusal(tmp_path / "pipe.dcm") == "not a regular file"
    assert refusal(Path("/dev/null")) == "not a regular file"


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    open_item = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    plain = file_bytes(image_dataset())
    start = plain.index(b"\x10\x00\x20\x00LO")
    path = tmp_path / "image.dcm"
    path.write_bytes(plain[:start] + open_item * 2000 + plain[start:])
    assert refusal(path) == "sequences are nested too deeply"


def test_nothing_a_file_says_reaches_a_reason_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = image_dataset(patient=CANARY, PatientName=CANARY, SpecificCharacterSet="ISO_IR 192")
    canary.add_new(0x00091001, "LO", CANARY)
    contents = file_bytes(canary)
    path = tmp_path / f"{CANARY}.dcm"
    path.write_bytes(contents.replace(b"ISO_IR 192", CANARY.encode()))
    assert CANARY not in repr(frames_of(path))
    for rotten in (b"IS\x04\x00ABCD", b"US\x03\x00ABC", CANARY.encode()):
        path.write_bytes(contents.replace(b"US\x02\x00\x03\x00", rotten))
        assert CANARY not in refusal(path)
    assert CANARY not in caplog.text


INTACT = file_bytes(image_dataset(WindowCenter=5, WindowWidth=4, RescaleSlope=1, RescaleIntercept=0))


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
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(damaged[:cut] if cut % 2 else damaged)
    try:
        assert all(np.isfinite(units(image)).all() for image in frames_of(path))
    except UnreadableImageError as error:
        assert str(error)
