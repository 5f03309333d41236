"""Every way in which DICOM stores colour comes out as red, green and blue."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, uid
from pydicom.data import get_palette_files
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from tests.client.dicom_files import image_dataset, write
from tests.client.reading.dicom_files import read, refusal


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


def test_ybr_follows_the_standards_formula(tmp_path: Path) -> None:
    # PS3.3 C.7.6.3.1.2, solved for RGB: R = Y + 1.402 (Cr - 128), and so on.
    stored = np.array([[[100, 90, 200]]], dtype=np.uint8)
    expected = [100 + 1.402 * 72, 100 - 0.344136 * -38 - 0.714136 * 72, 100 + 1.772 * -38]
    image = read(tmp_path, image_dataset(stored, photometric="YBR_FULL"))
    assert image.stored_HW.tolist() == [[[round(level) for level in expected]]]


def subsampled(photometric: str, values: list[int]) -> Dataset:
    pair = np.zeros((1, 2, 3), dtype=np.uint8)
    return image_dataset(pair, photometric=photometric, PixelData=bytes(values))


def test_neighbours_share_a_colour_in_4_2_2(tmp_path: Path) -> None:
    image = read(tmp_path, subsampled("YBR_FULL_422", [10, 20, 128, 128]))
    assert image.stored_HW.tolist() == [[[10, 10, 10], [20, 20, 20]]]


def test_video_levels_are_stretched(tmp_path: Path) -> None:
    # ITU-R BT.601: black is 16, white 235.
    image = read(tmp_path, subsampled("YBR_PARTIAL_422", [16, 235, 128, 128]))
    assert image.stored_HW.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def palette_dataset(
    indices: list[int], *, bits: int, first: int = 0, count: int = 2, **tables: Any
) -> Dataset:
    dataset = image_dataset(np.array([indices], np.uint16), photometric="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [count, first, bits])
        for keyword, value in tables.items():
            dataset.add_new(keyword.replace("Colour", colour), "OW", value)
    return dataset


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_palette_gives_the_colours(tmp_path: Path, big_endian: bool) -> None:
    order = ">u2" if big_endian else "<u2"
    dataset = palette_dataset([0, 1], bits=16)
    for factor, colour in enumerate(("Red", "Green", "Blue"), start=1):
        table = np.array([0x1000, 0x2000]) * factor
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.astype(order).tobytes())
    image = read(tmp_path, dataset, uid.ExplicitVRBigEndian if big_endian else uid.ExplicitVRLittleEndian)
    assert image.stored_HW.tolist() == [[[0x10, 0x20, 0x30], [0x20, 0x40, 0x60]]]


def test_an_index_beyond_the_palette_takes_its_end(tmp_path: Path) -> None:
    # pydicom 3.0.2 wraps 300 around in a table of 8 bits.
    dataset = palette_dataset(
        [0, 5, 6, 300], bits=8, first=5, ColourPaletteColorLookupTableData=bytes([7, 9])
    )
    assert read(tmp_path, dataset).stored_HW[0, :, 0].tolist() == [7, 7, 9, 9]


def test_8_bit_colours_in_16_bit_words_are_not_black(tmp_path: Path) -> None:
    words = np.array([7, 200], dtype="<u2").tobytes()
    for bits in (8, 16):
        dataset = palette_dataset([0, 1], bits=bits, ColourPaletteColorLookupTableData=words)
        assert read(tmp_path, dataset).stored_HW[0, :, 0].tolist() == [7, 200]


def segmented(words: list[int], *, count: int) -> Dataset:
    data = np.array(words, dtype="<u2").tobytes()
    return palette_dataset(
        list(range(count)), bits=16, count=count, SegmentedColourPaletteColorLookupTableData=data
    )


def test_a_segmented_palette_is_unpacked(tmp_path: Path) -> None:
    # PS3.3 C.7.9.2: a discrete segment of 2 values, then a linear one of 3 steps up to its last.
    dataset = segmented([0, 2, 0x100, 0x200, 1, 3, 0x800], count=5)
    assert read(tmp_path, dataset).stored_HW[0, :, 2].tolist() == [1, 2, 4, 6, 8]


def test_an_indirect_segment_repeats_segments_from_where_it_stands(tmp_path: Path) -> None:
    # PS3.3 C.7.9.2.3: the offset counts bytes; a repeated linear segment starts from what is before it now.
    words = [0, 1, 0x100, 0, 1, 0x900, 1, 2, 0x500, 2, 2, 6, 0]
    dataset = segmented(words, count=7)
    assert read(tmp_path, dataset).stored_HW[0, :, 1].tolist() == [1, 9, 7, 5, 9, 7, 5]


def shown_by_pydicom(dataset: Dataset, count: int) -> Any:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return apply_color_lut(np.arange(count, dtype=np.uint16)[None], dataset)


@pytest.mark.parametrize("name", ["SPRING", "SUMMER", "FALL", "WINTER"])
def test_the_standards_segmented_palettes_are_as_pydicom_shows_them(tmp_path: Path, name: str) -> None:
    (path,) = get_palette_files(f"{name.lower()}.dcm")
    dataset = palette_dataset(list(range(256)), bits=8, count=256)
    dataset.update({element.tag: element for element in dcmread(path) if "Palette" in element.keyword})
    assert np.array_equal(read(tmp_path, dataset).stored_HW, shown_by_pydicom(dataset, 256))


@pytest.mark.parametrize("offset", [0, 3])
def test_indirect_segments_of_8_bits_are_as_pydicom_shows_them(tmp_path: Path, offset: int) -> None:
    values = [0, 1, 50, 1, 4, 90, 0, 2, 7, 30, 2, 2, offset, 0, 0, 0, 1, 3, 99, 2, 1, offset, 0, 0, 0, 0]
    count = (1 + 4 + 2) + {0: 5, 3: 6}[offset] + 3 + {0: 1, 3: 4}[offset]
    dataset = palette_dataset(
        list(range(count)), bits=8, count=count, SegmentedColourPaletteColorLookupTableData=bytes(values)
    )
    assert np.array_equal(read(tmp_path, dataset).stored_HW, shown_by_pydicom(dataset, count))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([0, 2, 1, 2], "as many values"),
        ([1, 5, 9], "begin with a discrete"),
        ([2, 1, 0, 0], "point to no indirect"),
        ([0, 1, 9, 2, 1, 0, 0], "as many values"),
        ([0, 1, 9, 2, 2, 0, 0], "point to no indirect"),
        ([0, 1, 9, 2, 1, 6, 0], "point to no indirect"),
        ([0, 1, 9, 2, 4, 1, 0], "must point to a segment"),
        ([0, 1, 9, 2, 4, 0], "must point to a segment"),
        ([0, 1, 9, 2, 4, 0, 9], "must have values"),
        ([0, 1, 9, 0, 0, 9], "must have values"),
        ([0, 1, 9, 3, 4, 9], "point to no indirect"),
        ([0, 1, 9, 1, 60000, 10], "as many values"),
        ([], "as many values"),
    ],
)
def test_a_segmented_palette_that_lies_is_refused(tmp_path: Path, words: list[int], reason: str) -> None:
    assert reason in refusal(write(tmp_path / "image.dcm", segmented(words, count=5)))


def test_colour_of_12_bits_loses_what_is_above_them(tmp_path: Path) -> None:
    colours = np.array([[[0xF001, 0x1002, 0x0FFF]]], dtype=np.uint16)
    image = read(tmp_path, image_dataset(colours, photometric="RGB", BitsStored=12, HighBit=11))
    assert image.stored_HW.tolist() == [[[1, 2, 0xFFF]]]


def test_a_transform_of_jpeg_2000_means_nothing_elsewhere(tmp_path: Path) -> None:
    dataset = image_dataset(np.zeros((1, 2, 3), np.uint8), photometric="YBR_RCT")
    assert "in JPEG 2000 only" in refusal(write(tmp_path / "image.dcm", dataset))
