"""The frames of a file are found one by one, and each keeps what is said of it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, encapsulate_extended
from tests.client.dicom_files import RAMP, image_dataset, write
from tests.client.reading.dicom_files import compressed, frames_of, refusal

from fed_client.reading.bounds import MAX_FRAMES
from fed_client.reading.layout import MAX_BYTES
from fed_common.task import Frames


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


def test_frames_that_would_unpack_without_an_end_are_refused(tmp_path: Path) -> None:
    dataset = compressed([b"x"], NumberOfFrames=MAX_FRAMES, Rows=8000, Columns=8000)
    most = MAX_BYTES // (8000 * 8000 * 2)
    refused = refusal(write(tmp_path / "image.dcm", dataset, uid.RLELossless))
    assert refused == f"NumberOfFrames must be in [1, {most}]"


def test_a_frame_without_its_groups_is_refused(tmp_path: Path) -> None:
    dataset = multi_frame(PerFrameFunctionalGroupsSequence=[Dataset(), Dataset()])
    assert "one item for each frame" in refusal(write(tmp_path / "image.dcm", dataset))


def run_length(value: int) -> bytes:
    """Return a frame of RAMP's shape in which every pixel is `value`."""
    run = bytes([257 - RAMP.size, value])
    high = bytes([257 - RAMP.size, 0])
    return struct.pack("<16L", 2, 64, 66, *[0] * 13) + high + run


def values(path: Path, frames: Frames = "each") -> list[int]:
    return [int(image.stored_HW[0, 0]) for image in frames_of(path, frames)]


@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize("fragments", [1, 2])
def test_compressed_frames_are_told_apart(tmp_path: Path, has_table: bool, fragments: int) -> None:
    # With several fragments and no table, only the end marker tells; these frames end with one.
    frames = [run_length(value) + b"\xff\xd9" for value in (3, 5, 8)]
    dataset = compressed(
        frames, PixelData=encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table)
    )
    path = write(tmp_path / "image.dcm", dataset, uid.RLELossless)
    assert values(path) == [3, 5, 8]
    assert values(path, "middle") == [5]


def test_an_extended_offset_table_leads_to_the_frames(tmp_path: Path) -> None:
    frames = [run_length(value) for value in (3, 5)]
    pixels, offsets, lengths = encapsulate_extended(frames)
    dataset = compressed(frames, PixelData=pixels)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    assert values(write(tmp_path / "image.dcm", dataset, uid.RLELossless)) == [3, 5]


@pytest.mark.parametrize(
    ("offsets", "lengths", "reason"),
    [([0], [68], "one entry for each"), ([0, 1], [68, 68], "lead to"), ([0, 76], [68, 999], "lead to")],
)
def test_an_extended_offset_table_that_lies_is_refused(
    tmp_path: Path, offsets: list[int], lengths: list[int], reason: str
) -> None:
    dataset = compressed([run_length(3), run_length(5)])
    dataset.ExtendedOffsetTable = np.array(offsets, dtype="<u8").tobytes()
    dataset.ExtendedOffsetTableLengths = np.array(lengths, dtype="<u8").tobytes()
    assert reason in refusal(write(tmp_path / "image.dcm", dataset, uid.RLELossless))


def test_a_basic_offset_table_that_lies_is_left_aside(tmp_path: Path) -> None:
    pixels = bytearray(encapsulate([run_length(3), run_length(5)], has_bot=True))
    pixels[8:16] = struct.pack("<2L", 0, 13)
    dataset = compressed([run_length(3), run_length(5)], PixelData=bytes(pixels))
    assert values(write(tmp_path / "image.dcm", dataset, uid.RLELossless)) == [3, 5]


ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file[: file.rindex(ITEM)] + END, "PixelData is missing"),
        (lambda file: file.removesuffix(END)[:-1], "cut off"),
        (lambda file: file.replace(ITEM, b"\xfe\xff\x0d\xe0"), "cut off"),
    ],
)
def test_damaged_fragments_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes], reason: str) -> None:
    path = write(tmp_path / "image.dcm", compressed([run_length(3)]), uid.RLELossless)
    path.write_bytes(damage(path.read_bytes()))
    assert reason in refusal(path)


def test_a_missing_end_of_the_fragments_is_forgiven(tmp_path: Path) -> None:
    path = write(tmp_path / "image.dcm", compressed([run_length(3)]), uid.RLELossless)
    path.write_bytes(path.read_bytes().removesuffix(END))
    assert values(path) == [3]


def test_fewer_fragments_than_frames_are_refused(tmp_path: Path) -> None:
    dataset = compressed([run_length(3), run_length(5)], NumberOfFrames=3)
    refused = refusal(write(tmp_path / "image.dcm", dataset, uid.RLELossless))
    assert refused == "PixelData must hold as many frames as NumberOfFrames says"


@pytest.mark.parametrize("representation", ["OB", "OW"])
def test_odd_frames_of_bytes_keep_their_order_in_big_endian_words(
    tmp_path: Path, representation: str
) -> None:
    # PS3.5 8.1.1: frames follow each other without filling; OW swaps the two bytes of each word.
    stored = bytes(range(9))
    padded = stored + b"\0"
    swapped = np.frombuffer(padded, dtype=np.uint16).byteswap().tobytes()
    dataset = image_dataset(np.zeros((1, 3), np.uint8), NumberOfFrames=3)
    dataset.PixelData = swapped if representation == "OW" else padded
    dataset["PixelData"].VR = representation
    path = write(tmp_path / "image.dcm", dataset, uid.ExplicitVRBigEndian)
    assert [image.stored_HW.tolist() for image in frames_of(path)] == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]]]
