"""Names burned into pictures are found; bodies, markers and noise are no names."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tests.client.reading.source_images import FACTS, source

from fed_client.images import SourceImage
from fed_client.reading import tesseract, text
from fed_client.reading.text import find_text, installed_detector, suspect_regions

needs_tesseract = pytest.mark.skipif(
    tesseract.find_tesseract() is None, reason="tesseract-ocr is not installed"
)
SIDE = 512


def body(dtype: type[np.generic] = np.uint16, *, white: int = 4095) -> NDArray[Any]:
    """Return a smooth picture with some noise, as an X-ray has."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shape = np.exp(-((rows - 0.5) ** 2 + (columns - 0.5) ** 2) / 0.1)
    noise = np.random.default_rng(0).normal(0, 0.01, shape.shape)
    return np.asarray(np.clip(0.1 + 0.8 * shape + noise, 0, 1) * white).astype(dtype)


def burned(
    picture_HW: NDArray[Any], words: str, *, size: int = 20, place: tuple[int, int] = (12, 12)
) -> SourceImage:
    """Return the picture with words of its own white in it."""
    mask = Image.new("L", picture_HW.shape[::-1])
    ImageDraw.Draw(mask).text(place, words, fill=255, font=ImageFont.load_default(size=size))
    share = np.asarray(mask) / 255
    return source((picture_HW * (1 - share) + picture_HW.max() * share).astype(picture_HW.dtype))


@pytest.mark.parametrize("size", [10, 16, 24, 40])
@pytest.mark.parametrize("place", [(12, 12), (200, 6), (12, 460), (180, 450)])
def test_a_name_at_the_border_is_suspected(size: int, place: tuple[int, int]) -> None:
    assert find_text(burned(body(), "DOE^JOHN 1951", size=size, place=place), "contrast") == "suspected"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_depth_of_pixels_is_looked_at(dtype: type[np.generic]) -> None:
    assert find_text(burned(body(dtype, white=250), "MUELLER, EVA"), "contrast") == "suspected"


def test_a_name_in_colour_is_suspected() -> None:
    grey = burned(body(np.uint8, white=250), "MUELLER, EVA").stored_HW
    assert find_text(source(np.repeat(grey[..., None], 3, axis=2)), "contrast") == "suspected"


def test_broken_pixels_hide_no_name() -> None:
    stored_HW = burned(body(), "DOE^JOHN 1951").stored_HW
    stored_HW[300, 300:310] = 65535
    assert find_text(source(stored_HW), "contrast") == "suspected"


def test_a_body_is_no_text() -> None:
    assert find_text(source(body()), "contrast") == "none"


@pytest.mark.parametrize("stored_HW", [np.zeros((64, 64), np.uint16), np.zeros((3, 4), np.uint8)])
def test_an_empty_or_tiny_picture_is_no_text(stored_HW: NDArray[Any]) -> None:
    assert find_text(source(stored_HW), "contrast") == "none"


def test_the_middle_of_an_x_ray_is_left_alone_that_of_an_ultrasound_is_not() -> None:
    picture_HW = body()
    picture_HW[150:360, 150:360] = 400
    image = burned(picture_HW, "DOE^JOHN 1951", place=(180, 250))
    assert find_text(image, "contrast") == "none"
    assert find_text(replace(image, facts=replace(FACTS, modality="US")), "contrast") == "suspected"


def test_nobody_looks_if_nobody_is_asked() -> None:
    assert find_text(burned(body(), "DOE^JOHN 1951"), "off") == "none"


@needs_tesseract
@pytest.mark.parametrize("size", [16, 24, 40])
def test_tesseract_reads_what_contrast_suspects(size: int) -> None:
    assert find_text(burned(body(), "DOE^JOHN 1951", size=size), "contrast and tesseract") == "read"


@needs_tesseract
def test_tesseract_clears_what_cannot_be_read() -> None:
    bars = body()
    bars[20:60, 20:200:8] = 4095
    assert suspect_regions(bars, everywhere=False)
    assert find_text(source(bars), "contrast and tesseract") == "none"


@needs_tesseract
def test_in_pictures_made_with_text_a_suspicion_stays() -> None:
    bars = body()
    bars[20:60, 20:200:8] = 4095
    shown = source(bars, facts=replace(FACTS, modality="US"))
    assert find_text(shown, "contrast and tesseract") == "suspected"


def test_a_reader_that_fails_leaves_the_suspicion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "reads_words", lambda line_HW: None)
    assert find_text(burned(body(), "DOE^JOHN 1951"), "contrast and tesseract") == "suspected"


@needs_tesseract
def test_tesseract_that_cannot_run_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "find_tesseract", lambda: "/bin/false")
    assert tesseract.reads_words(np.zeros((40, 200), np.uint8)) is None


def test_the_machine_says_who_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "find_tesseract", lambda: None)
    assert installed_detector() == "contrast"
