"""What a DICOM file may say and do, and what must never come of it."""

import logging
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from tests.client.dicom_files import RAMP, claim_syntax, file_bytes, image_dataset, write

from fed_client.dicom import DicomImage, read_image
from fed_client.window import Window
from fed_common.errors import UnreadableImageError

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "dicom_samples" / "files"
CANARY = "CANARY7341"


def read(tmp_path: Path, dataset: Dataset, syntax: uid.UID = uid.ExplicitVRLittleEndian) -> DicomImage:
    return read_image(write(tmp_path / "image.dcm", dataset, syntax))


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    return str(caught.value)


def test_stored_values_become_real_units(tmp_path: Path) -> None:
    stored = np.array([[-1024, 0], [1, 32767]], dtype=np.int16)
    image = read(tmp_path, image_dataset(stored, RescaleSlope=0.5, RescaleIntercept=-10))
    assert image.pixels.dtype == np.float32
    assert image.pixels.tolist() == [[-522, -10], [-9.5, 16373.5]]


def test_bits_above_the_stored_ones_are_no_part_of_the_image(tmp_path: Path) -> None:
    overlaid = np.array([[0x1001, 0xF002]], dtype=np.uint16)
    image = read(tmp_path, image_dataset(overlaid, BitsStored=12, HighBit=11))
    assert image.pixels.tolist() == [[1, 2]]


def test_signed_values_of_12_bits_keep_their_sign(tmp_path: Path) -> None:
    stored = np.array([[0x0FFF, 0x07FF]], dtype=np.uint16)
    image = read(tmp_path, image_dataset(stored, BitsStored=12, HighBit=11, PixelRepresentation=1))
    assert image.pixels.tolist() == [[-1, 2047]]


def test_monochrome1_is_left_in_real_units_and_marked(tmp_path: Path) -> None:
    image = read(tmp_path, image_dataset(photometric="MONOCHROME1"))
    assert image.inverted
    assert np.array_equal(image.pixels, RAMP)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_uncompressed_syntaxes_say_the_same(tmp_path: Path, syntax: uid.UID) -> None:
    assert np.array_equal(read(tmp_path, image_dataset(), syntax).pixels, RAMP)


def test_big_endian_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset(PixelData=RAMP.astype(">u2").tobytes())
    assert np.array_equal(read(tmp_path, dataset, uid.ExplicitVRBigEndian).pixels, RAMP)


def rle_dataset(frame: bytes) -> Dataset:
    dataset = image_dataset(PixelData=encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_run_length_encoded_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset()
    file_bytes(dataset)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    assert np.array_equal(read(tmp_path, dataset, uid.RLELossless).pixels, RAMP)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_come_out_as_red_green_blue(tmp_path: Path, planar: int) -> None:
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    stored = np.moveaxis(colours, 2, 0) if planar else colours
    dataset = image_dataset(
        colours, photometric="RGB", PlanarConfiguration=planar, PixelData=stored.tobytes()
    )
    assert np.array_equal(read(tmp_path, dataset).pixels, colours)


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    # PS3.3 C.7.6.3.1.2: no colour difference (128) is grey, so R = G = B = Y.
    grey = np.array([[[0, 128, 128], [200, 128, 128]]], dtype=np.uint8)
    assert read(tmp_path, image_dataset(grey, photometric="YBR_FULL")).pixels.tolist() == [
        [[0, 0, 0], [200, 200, 200]]
    ]


def test_the_first_window_counts(tmp_path: Path) -> None:
    image = read(tmp_path, image_dataset(WindowCenter=[40, 300], WindowWidth=[400, 1500]))
    assert image.window == Window(centre=40, width=400, function="LINEAR")


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": "40"},
        {"WindowCenter": "40", "WindowWidth": "0.5"},
        {"WindowCenter": "NaN", "WindowWidth": "10"},
        {"WindowCenter": "40", "WindowWidth": "inf"},
        {"WindowCenter": "40", "WindowWidth": "10", "VOILUTFunction": "LOG"},
        {"WindowCenter": "40", "WindowWidth": "-1", "VOILUTFunction": "SIGMOID"},
    ],
)
def test_a_window_that_the_standard_forbids_is_none(tmp_path: Path, elements: dict[str, str]) -> None:
    assert read(tmp_path, image_dataset(RAMP, **elements)).window is None


REFUSED: dict[str, tuple[Callable[[], Dataset], str]] = {
    "truncated pixels (29)": (lambda: image_dataset(PixelData=b"\0" * 22), "shorter"),
    "Rows is a lie (30)": (lambda: image_dataset(Rows=65535), "shorter"),
    "more pixels than are read": (lambda: image_dataset(Rows=65535, Columns=65535), "Columns must be in"),
    "a million frames (31)": (lambda: image_dataset(NumberOfFrames=10**6), "NumberOfFrames must be 1"),
    "two frames": (lambda: image_dataset(NumberOfFrames=2), "NumberOfFrames must be 1"),
    "no pixels (32)": (lambda: image_dataset(PixelData=None), "PixelData is missing"),
    "empty pixels (33)": (lambda: image_dataset(PixelData=b""), "PixelData is missing"),
    "no Rows (34)": (lambda: image_dataset(Rows=None), "Rows must be in"),
    "Rows is 0 (35)": (lambda: image_dataset(Rows=0), "Rows must be in"),
    "bits (36)": (lambda: image_dataset(BitsStored=17, HighBit=16), "BitsStored must be in"),
    "32 bits": (lambda: image_dataset(BitsAllocated=32), "BitsAllocated must be in"),
    "12 bits packed": (lambda: image_dataset(BitsAllocated=12, BitsStored=12, HighBit=11), "damaged"),
    "shifted bits": (lambda: image_dataset(BitsStored=12, HighBit=15), "HighBit must be 11"),
    "no sign": (lambda: image_dataset(PixelRepresentation=None), "damaged"),
    "photometric (37)": (
        lambda: image_dataset(photometric=CANARY),
        "PhotometricInterpretation must be one of",
    ),
    "palette": (
        lambda: image_dataset(photometric="PALETTE COLOR"),
        "PhotometricInterpretation must be one of",
    ),
    "samples": (lambda: image_dataset(SamplesPerPixel=3), "SamplesPerPixel must be 1"),
    "slope NaN (43)": (lambda: image_dataset(RescaleSlope="NaN"), "finite"),
    "slope 1e308 (43)": (lambda: image_dataset(RescaleSlope="1e308"), "finite"),
    "slope 0": (lambda: image_dataset(RescaleSlope=0), "the slope not 0"),
    "intercept NaN": (lambda: image_dataset(RescaleIntercept="NaN"), "finite"),
    "intercept inf": (lambda: image_dataset(RescaleIntercept="-inf"), "finite"),
    "modality table": (lambda: image_dataset(ModalityLUTSequence=[Dataset()]), "look-up table"),
    "a report": (lambda: image_dataset(SOPClassUID=uid.BasicTextSRStorage), "SOPClassUID"),
    "a multi-frame class": (lambda: image_dataset(SOPClassUID=uid.EnhancedCTImageStorage), "SOPClassUID"),
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


@pytest.mark.parametrize("contents", [b"", b"DICM", b"\0" * 128 + b"DICM", b"\x89PNG" * 99])
def test_what_is_no_dicom_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(contents)
    assert refusal(path).startswith("damaged, or no DICOM file")


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGBaseline8Bit, f"1.2.{CANARY}"])
def test_other_transfer_syntaxes_are_refused(tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(claim_syntax(file_bytes(image_dataset()), syntax))
    assert refusal(path) == "the transfer syntax must be uncompressed or RLE Lossless"


def test_links_pipes_folders_and_devices_are_not_opened(tmp_path: Path) -> None:
    target = write(tmp_path / "real.dcm", image_dataset())
    (tmp_path / "link.dcm").symlink_to(target)
    (tmp_path / "folder.dcm").mkdir()
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "can't be opened" in refusal(tmp_path / "link.dcm")
    assert "can't be opened" in refusal(tmp_path / "folder.dcm")
    assert "can't be opened" in refusal(tmp_path / CANARY / "missing.dcm")
    assert refusal(tmp_path / "pipe.dcm") == "not a regular file"
    assert refusal(Path("/dev/null")) == "not a regular file"


def peak_bytes_of_refusal(path: Path) -> int:
    tracemalloc.start()
    try:
        refusal(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_deflate_bomb_is_not_inflated(tmp_path: Path) -> None:
    plain = file_bytes(image_dataset())
    start = plain.index(b"\x08\x00\x16\x00UI")
    meta = claim_syntax(plain[:start], uid.DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = tmp_path / "image.dcm"
    path.write_bytes(meta + deflater.compress(bytes(1 << 26)) + deflater.flush())
    assert refusal(path) == "the transfer syntax must be uncompressed or RLE Lossless"
    assert peak_bytes_of_refusal(path) < 1 << 22


def test_a_run_length_bomb_is_not_unpacked(tmp_path: Path) -> None:
    run_of_128 = b"\x81\x00"
    header = np.array([2, 64, 66, *[0] * 13], dtype="<u4").tobytes()
    bomb = write(tmp_path / "image.dcm", rle_dataset(header + run_of_128 * (1 << 17)), uid.RLELossless)
    assert "more than its share" in refusal(bomb)
    assert peak_bytes_of_refusal(bomb) < 1 << 22


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    open_item = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    plain = file_bytes(image_dataset())
    start = plain.index(b"\x10\x00\x20\x00LO")
    path = tmp_path / "image.dcm"
    path.write_bytes(plain[:start] + open_item * 2000 + plain[start:])
    assert refusal(path) == "damaged, or no DICOM file (RecursionError)"


def test_nothing_a_file_says_reaches_a_reason_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = image_dataset(patient=CANARY, PatientName=CANARY, SpecificCharacterSet="ISO_IR 192")
    canary.add_new(0x00091001, "LO", CANARY)
    contents = file_bytes(canary)
    path = tmp_path / f"{CANARY}.dcm"
    path.write_bytes(contents.replace(b"ISO_IR 192", CANARY.encode()))
    assert CANARY not in repr(read_image(path))
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
        assert np.isfinite(read_image(path).pixels).all()
    except UnreadableImageError as error:
        assert str(error)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of real files isn't here")
def test_real_files_read_or_have_a_reason() -> None:
    num_read = 0
    for path in sorted(SAMPLES.iterdir()):
        try:
            image = read_image(path)
        except UnreadableImageError as error:
            assert path.name not in str(error)
            continue
        assert np.isfinite(image.pixels).all()
        num_read += 1
    assert num_read == 27
