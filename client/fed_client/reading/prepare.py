"""Turns a frame into the picture that all sites learn from, by the recipe they share."""

# Shape letters: C channels, H rows, W columns; `_HW` of a colour image has 3 as a last dimension.

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_client.images import LookupTable, SourceImage
from fed_client.reading.resize import resized
from fed_client.reading.values import look_up
from fed_client.window import Window
from fed_common.errors import UnreadableImageError
from fed_common.task import Recipe

WHITE = 65535

# Beyond what any table reaches, and within what whole numbers hold.
_FAR = 1e9

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def prepare(image: SourceImage, recipe: Recipe) -> NDArray[np.uint16]:
    """Return the picture as (C, size, size), 0 black and 65535 white.

    In this order: the crop, the resize, real units, grey, the inversion, the channels, black around it up
    to the square. So intensities are averaged before the window cuts them off, as a scanner with larger
    pixels would do.

    Raises:
        UnreadableImageError: what comes out are not finite numbers.
    """
    small_HW = resized(_cropped(image.stored_HW, recipe.crop), size=recipe.size)
    with np.errstate(all="ignore"):  # what isn't finite is refused two lines below
        units_HW = small_HW * np.float32(image.slope) + np.float32(image.intercept)
        grey_HW = _grey(units_HW, image, recipe)
    if not np.isfinite(units_HW).all() or not np.isfinite(grey_HW).all():
        raise UnreadableImageError("the rescaled values must be finite numbers")
    # A look-up table can hold more than its own white.
    grey_HW = np.clip(grey_HW, 0, 1)
    if image.inverted:
        grey_HW = 1 - grey_HW
    square_CHW = _squared(_channels(grey_HW, recipe.channels), recipe.size)
    prepared_CHW: NDArray[np.uint16] = np.rint(np.minimum(square_CHW, 1) * WHITE).astype(np.uint16)
    return prepared_CHW


def _cropped(stored_HW: NDArray[Any], fraction: float) -> NDArray[Any]:
    """Return the middle of the picture: `fraction` of each side, at least a pixel."""
    height, width = stored_HW.shape[:2]
    rows, columns = max(1, round(height * fraction)), max(1, round(width * fraction))
    top, left = (height - rows) // 2, (width - columns) // 2
    return stored_HW[top : top + rows, left : left + columns]


def _grey(units_HW: NDArray[np.float32], image: SourceImage, recipe: Recipe) -> NDArray[np.float32]:
    """Return the picture from 0 to 1."""
    match recipe.intensity:
        case "fixed":
            window = Window(centre=recipe.window_centre, width=recipe.window_width, function="LINEAR_EXACT")
            return window.grey(units_HW)
        case "percentile":
            return _between_percentiles(units_HW, 1, 99)
        case "window":
            return _as_the_file_says(units_HW, image, recipe.window_name)


def _as_the_file_says(units_HW: NDArray[np.float32], image: SourceImage, name: str) -> NDArray[np.float32]:
    """Return the picture by the window called `name`, or the file's first; without it, between its extremes.

    Colours are meant to be shown as they are. Source: DICOM PS3.3 C.11.2 (VOI LUT: for grey images only).
    """
    match image.windows.get(name) if name else image.voi:
        case Window() as window:
            return window.grey(units_HW)
        case LookupTable() as table:
            return look_up(np.rint(np.clip(units_HW, -_FAR, _FAR)), table)
        case None if image.stored_HW.ndim == 3:
            return units_HW / np.float32(_whitest(image))
        case None:
            return _between_percentiles(units_HW, 0, 100)


def _whitest(image: SourceImage) -> int:
    """Return the largest value of a colour; palettes have been turned into colours of 8 bits."""
    stored_bits = 8 * image.stored_HW.dtype.itemsize
    return (1 << (8 if stored_bits == 8 else min(stored_bits, image.facts.bits_stored))) - 1


def _between_percentiles(units_HW: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    black, white = np.percentile(units_HW.astype(np.float64), (low, high))
    if not black < white:
        return np.zeros_like(units_HW)
    window = Window(centre=(black + white) / 2, width=white - black, function="LINEAR_EXACT")
    return window.grey(units_HW)


def _channels(grey_HW: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    in_colour = grey_HW.ndim == 3
    if channels == 1:
        return (grey_HW @ _LUMINANCE if in_colour else grey_HW)[None]
    return np.moveaxis(grey_HW, 2, 0) if in_colour else np.repeat(grey_HW[None], 3, axis=0)


def _squared(image_CHW: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    channels, height, width = image_CHW.shape
    if height == width:
        return image_CHW
    top, left = (size - height) // 2, (size - width) // 2
    square_CHW = np.zeros((channels, size, size), dtype=np.float32)
    square_CHW[:, top : top + height, left : left + width] = image_CHW
    return square_CHW
