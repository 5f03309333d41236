"""What stored values mean: bits, real units, windows and tables."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, uid
from tests.client.dicom_files import RAMP, image_dataset, write
from tests.client.reading.dicom_files import read, refusal, units

from fed_client.images import LookupTable
from fed_client.window import Window


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


def test_windows_are_found_by_their_explanation(tmp_path: Path) -> None:
    image = read(
        tmp_path,
        image_dataset(
            WindowCenter=[40, 300], WindowWidth=[400, 1500], WindowCenterWidthExplanation=["SOFT", "BONE"]
        ),
    )
    assert image.windows["BONE"] == Window(centre=300, width=1500)


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


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_tables_first_value_has_the_sign_of_its_input(tmp_path: Path, syntax: str, vr: str) -> None:
    # PS3.3 C.11.1.1.1: the descriptor is signed as the stored values are; files often forget it.
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [3, -2 if vr == "SS" else 65534, 16])
    item.add_new("LUTData", "OW", np.array([7, 8, 9], dtype="<u2").tobytes())
    stored = np.array([[-3, -2, -1, 0, 1]], dtype=np.int16)
    image = read(tmp_path, image_dataset(stored, ModalityLUTSequence=[item]), syntax)
    assert units(image).tolist() == [[7, 7, 8, 9, 9]]


def test_a_table_of_8_bits_may_hold_two_entries_in_a_word(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 8])
    item.add_new("LUTData", "OW", bytes([1, 2, 3, 4]))
    stored = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    assert units(read(tmp_path, image_dataset(stored, ModalityLUTSequence=[item]))).tolist() == [[1, 2, 3, 4]]


def test_tables_of_big_endian_files_are_big_endian(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [2, 0, 16])
    item.add_new("LUTData", "OW", np.array([258, 772], dtype=">u2").tobytes())
    stored = np.array([[0, 1]], dtype=">u2")
    dataset = image_dataset(
        np.array([[0, 1]], dtype=np.uint16), ModalityLUTSequence=[item], PixelData=stored.tobytes()
    )
    assert units(read(tmp_path, dataset, uid.ExplicitVRBigEndian)).tolist() == [[258, 772]]


@pytest.mark.parametrize(
    ("descriptor", "entries", "reason"),
    [
        ([3, 0, 16], [1, 2], "as many values as its descriptor says"),
        ([2, 0, 17], [1, 2], "8 to 16 bits"),
        ([2, 0], [1, 2], "must be 3 numbers"),
        ([0, 0, 16], [1, 2], "as many values as its descriptor says"),  # 0 stands for 65536
    ],
)
def test_a_table_that_lies_is_refused(
    tmp_path: Path, descriptor: list[int], entries: list[int], reason: str
) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "US", entries)
    assert reason in refusal(write(tmp_path / "image.dcm", image_dataset(ModalityLUTSequence=[item])))


def test_a_voi_table_after_a_rescale_below_0_begins_below_0(tmp_path: Path) -> None:
    # PS3.3 C.11.2.1.1: its input are the rescaled values.
    dataset = image_dataset(
        RAMP, RescaleIntercept=-1024, RescaleSlope=1, VOILUTSequence=[table_item(64512, [0, 65535])]
    )
    voi = read(tmp_path, dataset).voi
    assert isinstance(voi, LookupTable)
    assert voi.first == -1024
    assert voi.levels.tolist() == [0, 1]


def test_unsigned_pixels_of_32_bits_are_read_whole(tmp_path: Path) -> None:
    stored = np.array([[0, 2**32 - 1]], dtype=np.uint32)
    dataset = image_dataset(np.zeros((1, 2), np.uint16), PixelData=stored.tobytes())
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    assert read(tmp_path, dataset).stored_HW.tolist() == [[0, 2**32 - 1]]
