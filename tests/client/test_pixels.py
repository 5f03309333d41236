"""The recipe against the formulas of the standard."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.dicom_files import Pixels, image_dataset, write

from fed_client.deidentify import deidentify
from fed_client.dicom import read_image
from fed_client.pixels import prepare
from fed_client.window import Window, WindowFunction
from fed_common.task import Recipe


def prepared(
    tmp_path: Path, pixels: Pixels, recipe: Recipe, *, photometric: str = "MONOCHROME2", window: str = ""
) -> NDArray[np.float64]:
    """Return the pixels after the whole way, from 0 (black) to 1 (white)."""
    centre, _, width = window.partition("/")
    elements = {"WindowCenter": centre, "WindowWidth": width} if window else {}
    dataset = image_dataset(pixels, photometric=photometric, **elements)
    image = deidentify(read_image(write(tmp_path / "image.dcm", dataset)), bytes(32))
    return prepare(image, recipe).astype(np.float64) * 0.25 + 0.5


# The examples of PS3.3 C.11.2.1.2.1: centre and width 2048/4096, 2048/1 and 0/100.
@pytest.mark.parametrize(
    ("centre", "width", "value", "grey"),
    [
        (2048, 4096, 0, 0),
        (2048, 4096, 4095, 1),
        (2048, 4096, 2047.5, 0.5),
        (2048, 1, 2047, 0),
        (2048, 1, 2047.5, 0),
        (2048, 1, 2048, 1),
        (0, 100, 0, 0.5 / 99 + 0.5),
        (0, 100, -50, 0),
        (0, 100, -49, 1 / 99),
        (0, 100, 49, 1),
        (0, 100, 48, 98 / 99),
    ],
)
def test_the_linear_window_is_that_of_the_standard(
    centre: float, width: float, value: float, grey: float
) -> None:
    shown = Window(centre=centre, width=width).grey(np.array([value], dtype=np.float32))
    assert shown[0] == pytest.approx(grey, abs=1e-6)


@pytest.mark.parametrize(
    ("function", "value", "grey"),
    [
        ("LINEAR_EXACT", -50, 0),
        ("LINEAR_EXACT", 0, 0.5),
        ("LINEAR_EXACT", 25, 0.75),
        ("LINEAR_EXACT", 60, 1),
        ("SIGMOID", 0, 0.5),
        ("SIGMOID", 25, 1 / (1 + np.exp(-1))),
        ("SIGMOID", -1e30, 0),
    ],
)
def test_the_other_windows_are_those_of_the_standard(
    function: WindowFunction, value: float, grey: float
) -> None:
    window = Window(centre=0, width=100, function=function)
    assert window.grey(np.array([value], dtype=np.float32))[0] == pytest.approx(grey, abs=1e-6)


SQUARE = np.arange(16, dtype=np.uint16).reshape(4, 4)
AS_IT_IS = Recipe(size=4)


def test_the_files_window_is_used(tmp_path: Path) -> None:
    shown = prepared(tmp_path, SQUARE, AS_IT_IS, window="8/11")
    assert shown[0] == pytest.approx(np.clip((SQUARE - 7.5) / 10 + 0.5, 0, 1), abs=1e-6)


def test_without_a_window_the_extremes_are_black_and_white(tmp_path: Path) -> None:
    assert prepared(tmp_path, SQUARE, AS_IT_IS)[0] == pytest.approx(SQUARE / 15, abs=1e-6)


def test_monochrome1_is_inverted_after_the_window(tmp_path: Path) -> None:
    upright = prepared(tmp_path, SQUARE, AS_IT_IS, window="4/9")
    inverted = prepared(tmp_path, SQUARE, AS_IT_IS, window="4/9", photometric="MONOCHROME1")
    assert inverted == pytest.approx(1 - upright, abs=1e-6)


def test_percentiles_ignore_the_window_and_outliers(tmp_path: Path) -> None:
    pixels = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    pixels[0, 0] = 65535
    shown = prepared(tmp_path, pixels, Recipe(size=100, intensity="percentile"), window="1/2")
    black, white = np.percentile(pixels, [1, 99])
    assert shown[0] == pytest.approx(np.clip((pixels - black) / (white - black), 0, 1), abs=1e-5)


def test_an_image_of_one_value_is_black(tmp_path: Path) -> None:
    assert np.array_equal(prepared(tmp_path, SQUARE * 0, AS_IT_IS), np.zeros((1, 4, 4)))


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    colours = np.zeros((2, 2, 3), dtype=np.uint8)
    colours[0, 0], colours[0, 1], colours[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    shown = prepared(tmp_path, colours, Recipe(size=2), photometric="RGB")
    assert shown[0] == pytest.approx(np.array([[0.299, 0.587], [0.114, 0]]), abs=1e-6)


def test_colour_stays_colour_where_the_recipe_wants_it(tmp_path: Path) -> None:
    colours = np.arange(0, 192, 16, dtype=np.uint8).reshape(2, 2, 3)
    shown = prepared(tmp_path, colours, Recipe(size=2, channels=3), photometric="RGB")
    assert shown == pytest.approx(np.moveaxis(colours, 2, 0) / 176, abs=1e-6)


def test_grey_is_repeated_for_three_channels(tmp_path: Path) -> None:
    shown = prepared(tmp_path, SQUARE, Recipe(size=4, channels=3))
    assert shown == pytest.approx(np.stack([SQUARE / 15] * 3), abs=1e-6)


def test_a_wide_image_keeps_its_proportions_between_black_bars(tmp_path: Path) -> None:
    white = np.full((2, 5), 100, dtype=np.uint16)
    shown = prepared(tmp_path, white, Recipe(size=5), window="50/101")
    assert shown[0].sum(axis=1) == pytest.approx([0, 5, 5, 0, 0], abs=1e-6)


def test_shrinking_averages_instead_of_dropping_pixels(tmp_path: Path) -> None:
    stripes = np.tile(np.array([100, 0, 0, 0, 0, 0, 0, 0], dtype=np.uint16), (64, 8))
    shown = prepared(tmp_path, stripes, Recipe(size=8))
    assert shown[0, :, 1:-1] == pytest.approx(np.full((8, 6), 1 / 8), abs=1e-5)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(7).integers(0, 4096, (61, 83), dtype=np.uint16)
    first, second = (prepared(tmp_path, pixels, Recipe()) for _ in range(2))
    assert first.tobytes() == second.tobytes()
