"""What a DICOM file may say and do, and what must never come of it."""

import logging
import os
import resource
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from tests.client.dicom_files import RAMP, claim_syntax, file_bytes, image_dataset, write

from fed_client.images import LookupTable, SourceImage
from fed_client.reading import header
from fed_client.reading.dicom import read_file
from fed_client.reading.layout import MAX_FRAMES
from fed_client.window import Window
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

CANARY = "CANARY7341"


def frames_of(path: Path, frames: Frames = "each") -> list[SourceImage]:
    return [item for item in read_file(path, frames) if isinstance(item, SourceImage)]


def read(tmp_path: Path, dataset: Dataset, syntax: uid.UID = uid.ExplicitVRLittleEndian) -> SourceImage:
    (image,) = frames_of(write(tmp_path / "image.dcm", dataset, syntax))
    return image


def units(image: SourceImage) -> NDArray[np.float64]:
    return image.stored_HW.astype(np.float64) * image.slope + image.intercept


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        frames_of(path)
    return str(caught.value)


def test_stored_values_become_real_units(tmp_path: Path) -> None:
    stored = np.array([[-1024, 0], [1, 32767]], dtype=np.int16)
    image = read(tmp_path, image_dataset(stored, RescaleSlope=0.5, RescaleIntercept=-10))
    assert units(image).tolist() == [[-522, -10], [-9.5, 16373.5]]


def test_bits_above_the_stored_ones_are_no_part_of_the_image(tmp_path: Path) -> None:
    overlaid = np.array([[0x1001, 0xF002]], dtype=np.uint16)
    image = read(tmp_path, image_dataset(overlaid, BitsStored=12, HighBit=11))
    assert units(image).tolist() == [[1, 2]]


def test_signed_values_of_12_bits_keep_their_sign(tmp_path: Path) -> None:
    stored = np.array([[0x0FFF, 0x07FF]], dtype=np.uint16)
    image = read(tmp_path, image_dataset(stored, BitsStored=12, HighBit=11, PixelRepresentation=1))
    assert units(image).tolist() == [[-1, 2047]]


def test_monochrome1_is_left_in_real_units_and_marked(tmp_path: Path) -> None:
    image = read(tmp_path, image_dataset(photometric="MONOCHROME1"))
    assert image.inverted
    assert np.array_equal(image.stored_HW, RAMP)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_uncompressed_syntaxes_say_the_same(tmp_path: Path, syntax: uid.UID) -> None:
    assert np.array_equal(read(tmp_path, image_dataset(), syntax).stored_HW, RAMP)


def test_big_endian_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset(PixelData=RAMP.astype(">u2").tobytes())
    assert np.array_equal(read(tmp_path, dataset, uid.ExplicitVRBigEndian).stored_HW, RAMP)


def rle_dataset(frame: bytes) -> Dataset:
    dataset = image_dataset(PixelData=encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_run_length_encoded_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset()
    file_bytes(dataset)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    assert np.array_equal(read(tmp_path, dataset, uid.RLELossless).stored_HW, RAMP)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_come_out_as_red_green_blue(tmp_path: Path, planar: int) -> None:
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    stored = np.moveaxis(colours, 2, 0) if planar else colours
    dataset = image_dataset(
        colours, photometric="RGB", PlanarConfiguration=planar, PixelData=stored.tobytes()
    )
    assert np.array_equal(read(tmp_path, dataset).stored_HW, colours)


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    # PS3.3 C.7.6.3.1.2: no colour difference (128) is grey, so R = G = B = Y.
    grey = np.array([[[0, 128, 128], [200, 128, 128]]], dtype=np.uint8)
    assert read(tmp_path, image_dataset(grey, photometric="YBR_FULL")).stored_HW.tolist() == [
        [[0, 0, 0], [200, 200, 200]]
    ]


def test_the_first_window_counts(tmp_path: Path) -> None:
    image = read(tmp_path, image_dataset(WindowCenter=[40, 300], WindowWidth=[400, 1500]))
    assert image.voi == Window(centre=40, width=400, function="LINEAR")


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
    assert read(tmp_path, image_dataset(RAMP, **elements)).voi is None


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


def peak_bytes_of_refusal(path: Path) -> int:
    tracemalloc.start()
    try:
        refusal(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def deflated(data: bytes) -> bytes:
    plain = file_bytes(image_dataset())
    meta = claim_syntax(plain[: plain.index(b"\x08\x00\x16\x00UI")], uid.DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return meta + deflater.compress(data) + deflater.flush()


def test_deflated_files_say_the_same(tmp_path: Path) -> None:
    plain = file_bytes(image_dataset())
    path = tmp_path / "image.dcm"
    path.write_bytes(deflated(plain[plain.index(b"\x08\x00\x16\x00UI") :]))
    assert np.array_equal(frames_of(path)[0].stored_HW, RAMP)


@pytest.mark.parametrize(
    ("header_words", "reason"),
    [
        ([], "must begin with a header"),
        ([1, 64], "one segment for each byte"),
        ([2, 64, 66], "less than its share"),
        ([2, 70, 65], "must follow each other"),
        ([2, 64, 10**9], "must follow each other"),
        ([2, 0, 64], "must follow each other"),
    ],
)
def test_run_length_encoding_that_lies_is_refused(
    tmp_path: Path, header_words: list[int], reason: str
) -> None:
    words = header_words + [0] * (16 - len(header_words)) if header_words else []
    frame = np.array(words, dtype="<u4").tobytes() + b"\x01ab\x01cd"
    path = write(tmp_path / "image.dcm", rle_dataset(frame), uid.RLELossless)
    assert reason in refusal(path)


def test_a_deflate_bomb_is_inflated_to_a_limit_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "MAX_INFLATED_BYTES", 1 << 20)
    path = tmp_path / "image.dcm"
    path.write_bytes(deflated(bytes(1 << 26)))
    assert "the deflated data set has more than" in refusal(path)
    assert peak_bytes_of_refusal(path) < 1 << 22


def test_a_run_length_bomb_is_unpacked_to_the_image_and_no_further(tmp_path: Path) -> None:
    run_of_128 = b"\x81\x00"
    segments = np.array([2, 64, 64 + (1 << 22), *[0] * 13], dtype="<u4").tobytes()
    bomb = rle_dataset(segments + run_of_128 * (1 << 22))  # 8 MB that stand for half a gigabyte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not read(tmp_path, bomb, uid.RLELossless).stored_HW.any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # KB


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


def multi_frame(**elements: object) -> Dataset:
    stack = np.stack([RAMP + 100 * number for number in range(3)])
    given: dict[str, object] = {"PixelData": stack.tobytes(), "NumberOfFrames": 3, **elements}
    dataset = image_dataset(RAMP, patient="P1", photometric="MONOCHROME2", **given)
    dataset.SOPClassUID = uid.EnhancedCTImageStorage
    return dataset


@pytest.mark.parametrize(("frames", "numbers"), [("each", [0, 1, 2]), ("first", [0]), ("middle", [1])])
def test_the_recipe_says_which_frames_are_examples(
    tmp_path: Path, frames: Frames, numbers: list[int]
) -> None:
    images = frames_of(write(tmp_path / "image.dcm", multi_frame()), frames)
    assert [image.facts.frame for image in images] == numbers
    for image in images:
        assert np.array_equal(image.stored_HW, RAMP + 100 * image.facts.frame)


def rescaled(slope: float) -> Dataset:
    group, transformation = Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = slope, 0
    group.PixelValueTransformationSequence = [transformation]
    return group


def test_a_frames_own_groups_stand_before_the_shared_ones(tmp_path: Path) -> None:
    per_frame = [Dataset(), rescaled(3), Dataset()]
    dataset = multi_frame(
        RescaleSlope=1,
        SharedFunctionalGroupsSequence=[rescaled(2)],
        PerFrameFunctionalGroupsSequence=per_frame,
    )
    slopes = [image.slope for image in frames_of(write(tmp_path / "image.dcm", dataset))]
    assert slopes == [2, 3, 2]


def test_more_frames_than_are_read_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "image.dcm", multi_frame(NumberOfFrames=MAX_FRAMES + 1))
    assert refusal(path) == f"NumberOfFrames must be in [1, {MAX_FRAMES}]"


def table_item(first: int, levels: list[int], bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(levels), first, bits])
    item.add_new("LUTData", "US", levels)
    return item


def test_a_modality_table_gives_the_real_units(tmp_path: Path) -> None:
    # PS3.3 C.11.1.1.1: values below the first and beyond the last entry take these.
    image = read(tmp_path, image_dataset(ModalityLUTSequence=[table_item(4, [10, 20, 30])]))
    assert units(image).tolist() == [[10, 10, 10, 10], [10, 20, 30, 30], [30, 30, 30, 30]]


def test_a_voi_table_stands_before_a_window(tmp_path: Path) -> None:
    dataset = image_dataset(VOILUTSequence=[table_item(0, [0, 255], bits=8)], WindowCenter=5, WindowWidth=4)
    voi = read(tmp_path, dataset).voi
    assert isinstance(voi, LookupTable)
    assert (voi.first, voi.levels.tolist()) == (0, [0, 1])


def test_windows_are_found_by_their_explanation(tmp_path: Path) -> None:
    image = read(
        tmp_path,
        image_dataset(
            WindowCenter=[40, 300], WindowWidth=[400, 1500], WindowCenterWidthExplanation=["SOFT", "BONE"]
        ),
    )
    assert image.windows["BONE"] == Window(centre=300, width=1500)


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_palette_gives_the_colours(tmp_path: Path, big_endian: bool) -> None:
    reds, order = np.array([0x1000, 0x2000], np.uint16), ">u2" if big_endian else "<u2"
    dataset = image_dataset(np.array([[0, 1]], np.uint8), photometric="PALETTE COLOR")
    for colour, levels in (("Red", reds), ("Green", reds * 2), ("Blue", reds * 3)):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [2, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", levels.astype(order).tobytes())
    syntax = uid.ExplicitVRBigEndian if big_endian else uid.ExplicitVRLittleEndian
    if big_endian:  # OB keeps the order of single bytes
        dataset["PixelData"].VR = "OB"
    image = read(tmp_path, dataset, syntax)
    assert image.stored_HW.tolist() == [[[0x10, 0x20, 0x30], [0x20, 0x40, 0x60]]]


def test_only_known_words_come_out_of_a_header(tmp_path: Path) -> None:
    known = read(tmp_path, image_dataset(ViewPosition="PA", BodyPartExamined="CHEST", Modality=CANARY))
    unknown = read(tmp_path, image_dataset(ViewPosition=CANARY, BodyPartExamined=CANARY))
    assert (known.facts.view, known.facts.body_part, known.facts.modality) == ("PA", "CHEST", "CR")
    assert (unknown.facts.view, unknown.facts.body_part) == ("", "")


def test_equal_pixels_have_equal_digests_whatever_their_encoding(tmp_path: Path) -> None:
    plain = read(tmp_path, image_dataset())
    big = read(tmp_path, image_dataset(PixelData=RAMP.astype(">u2").tobytes()), uid.ExplicitVRBigEndian)
    other = read(tmp_path, image_dataset(RAMP + np.uint16(1)))
    assert plain.facts.pixels == big.facts.pixels != other.facts.pixels
