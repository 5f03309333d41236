"""A frame becomes the picture that the recipe says, whatever way its values were stored."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.reading.source_images import FACTS, source

from fed_client.images import LookupTable, SourceImage
from fed_client.reading.prepare import WHITE, prepare
from fed_client.window import Window
from fed_common.errors import UnreadableImageError
from fed_common.task import Recipe

SIZE = 16
RECIPE = Recipe(size=SIZE)
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
WINDOW = Window(centre=127.5, width=255, function="LINEAR_EXACT")


def grey(image: SourceImage, recipe: Recipe = RECIPE) -> NDArray[np.float64]:
    return np.asarray(prepare(image, recipe)[0] / WHITE)


def test_the_files_window_says_what_is_black_and_white() -> None:
    np.testing.assert_allclose(grey(source(RAMP, voi=WINDOW)), RAMP / 255, atol=1e-4)


def test_real_units_come_before_the_window() -> None:
    image = source(
        RAMP, slope=2.0, intercept=-100.0, voi=Window(centre=155, width=510, function="LINEAR_EXACT")
    )
    np.testing.assert_allclose(grey(image), RAMP / 255, atol=1e-4)


def test_the_fixed_window_of_the_recipe_ignores_the_files() -> None:
    recipe = Recipe(size=SIZE, intensity="fixed", window_centre=64, window_width=128)
    np.testing.assert_allclose(grey(source(RAMP, voi=WINDOW), recipe), np.clip(RAMP / 128, 0, 1), atol=1e-4)


def test_a_window_is_found_by_its_name_and_its_absence_is_no_other_window() -> None:
    recipe = Recipe(size=SIZE, window_name="BONE")
    narrow = Window(centre=64, width=128, function="LINEAR_EXACT")
    named = source(RAMP, voi=WINDOW, windows={"BONE": narrow})
    np.testing.assert_allclose(grey(named, recipe), np.clip(RAMP / 128, 0, 1), atol=1e-4)
    np.testing.assert_allclose(grey(source(RAMP // 2, voi=WINDOW), recipe), (RAMP // 2) / 127, atol=1e-4)


def test_percentiles_ignore_the_window_and_a_few_extremes() -> None:
    recipe = Recipe(size=SIZE, intensity="percentile")
    black, white = np.percentile(RAMP, (1, 99))
    expected = np.clip((RAMP - black) / (white - black), 0, 1)
    np.testing.assert_allclose(grey(source(RAMP, voi=WINDOW), recipe), expected, atol=1e-4)


def test_without_a_window_the_extremes_are_black_and_white() -> None:
    np.testing.assert_allclose(grey(source(RAMP + 1000)), RAMP / 255, atol=1e-4)


def test_a_table_of_grey_levels_is_looked_up() -> None:
    table = LookupTable(first=10, levels=np.array([0, 0.25, 1], np.float32))
    image = source(np.full((SIZE, SIZE), 11, np.uint16), voi=table)
    np.testing.assert_allclose(grey(image), 0.25, atol=1e-4)


def test_a_table_that_is_whiter_than_white_stays_white() -> None:
    table = LookupTable(first=0, levels=np.array([0, 257], np.float32))
    assert (prepare(source(np.ones((SIZE, SIZE), np.uint16), voi=table), RECIPE) == WHITE).all()


def test_monochrome1_is_turned_round_after_the_window() -> None:
    np.testing.assert_allclose(grey(source(RAMP, voi=WINDOW, inverted=True)), 1 - RAMP / 255, atol=1e-4)


@pytest.mark.parametrize("inverted", [False, True])
def test_what_is_added_around_a_picture_is_black(inverted: bool) -> None:
    wide = grey(source(np.full((8, 16), 200, np.uint16), voi=WINDOW, inverted=inverted))
    assert wide.shape == (SIZE, SIZE)
    assert (wide[:4] == 0).all() and (wide[12:] == 0).all()
    assert (wide[4:12] > 0).all()


def test_the_crop_keeps_the_middle() -> None:
    framed = np.zeros((32, 32), np.uint16)
    framed[8:24, 8:24] = RAMP
    np.testing.assert_allclose(
        grey(source(framed, voi=WINDOW), Recipe(size=SIZE, crop=0.5)), RAMP / 255, atol=1e-4
    )


def test_colours_become_luminance_or_stay() -> None:
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0], red[0, 0] = 255, (0, 0, 0)
    assert prepare(source(red), RECIPE)[0, 1, 1] == round(0.299 * WHITE)
    assert prepare(source(red), Recipe(size=SIZE, channels=3))[:, 1, 1].tolist() == [WHITE, 0, 0]


@pytest.mark.parametrize(("dtype", "bits", "white"), [(np.uint8, 16, 255), (np.uint16, 12, 4095)])
def test_colours_without_a_window_are_shown_as_they_are(dtype: Any, bits: int, white: int) -> None:
    faint = np.full((SIZE, SIZE, 3), white // 5, dtype)
    image = source(faint, facts=replace(FACTS, bits_stored=bits))
    assert prepare(image, RECIPE)[0, 0, 0] == WHITE // 5


def test_grey_is_repeated_for_a_network_of_three_channels() -> None:
    prepared = prepare(source(RAMP, voi=WINDOW), Recipe(size=SIZE, channels=3))
    assert prepared.shape == (3, SIZE, SIZE)
    assert (prepared == prepared[0]).all()


def test_a_picture_of_one_value_is_black() -> None:
    assert not prepare(source(np.full((4, 4), 77, np.uint16)), RECIPE).any()


@pytest.mark.parametrize("change", [{"slope": 1e30}, {"intercept": float("nan")}])
def test_values_that_are_no_numbers_do_not_get_through(change: dict[str, Any]) -> None:
    huge = np.full((4, 4), 2**32 - 1, np.uint32)
    with pytest.raises(UnreadableImageError, match="finite"):
        prepare(source(huge, **change), RECIPE)


def test_a_window_that_yields_no_numbers_does_not_get_through() -> None:
    narrow = Window(centre=0.0, width=5e-324, function="SIGMOID")
    with pytest.raises(UnreadableImageError, match="finite"):
        prepare(source(np.zeros((4, 4), np.uint16), voi=narrow), RECIPE)
