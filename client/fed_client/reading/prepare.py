"""Turns a frame into the picture that all sites learn from, by the recipe they share."""

# Shape letters: C channels, H rows, W columns; `_HW` of a colour image has 3 as a last dimension.

import numpy as np
from numpy.typing import NDArray

from fed_client.images import LookupTable, SourceImage
from fed_client.reading.resize import resized
from fed_client.reading.values import look_up
from fed_client.window import Window
from fed_common.errors import UnreadableImageError
from fed_common.task import Recipe

WHITE = 65535

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def prepare(image: SourceImage, recipe: Recipe) -> NDArray[np.uint16]:
    """Return the picture as (C, size, size), 0 black and 65535 white.

    In this order: the crop, the resize, real units, grey, the inversion, the channels, black around it up
    to the square. So intensities are averaged before the window cuts them off, as a scanner with larger
    pixels would do.

    Raises:
        UnreadableImageError: the real units are not finite numbers.
    """
    small_HW = resized(_cropped(image, recipe.crop), size=recipe.size)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused in the next line
        units_HW = small_HW * np.float32(image.slope) + np.float32(image.intercept)
    if not np.isfinite(units_HW).all():
        raise UnreadableImageError("the rescaled values must be finite numbers")
    grey_HW = _grey(units_HW, image, recipe)
    if image.inverted:
        grey_HW = 1 - grey_HW
    square_CHW = _squared(_channels(grey_HW, recipe.channels), recipe.size)
    return np.rint(square_CHW * WHITE).astype(np.uint16)


def _cropped(image: SourceImage, fraction: float) -> NDArray[np.generic]:
    """Return the middle of the picture: `fraction` of each side, at least a pixel."""
    if fraction == 1:
        return image.stored_HW
    height, width = image.stored_HW.shape[:2]
    rows, columns = max(1, round(height * fraction)), max(1, round(width * fraction))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image.stored_HW[top : top + rows, left : left + columns]


def _grey(units_HW: NDArray[np.float32], image: SourceImage, recipe: Recipe) -> NDArray[np.float32]:
    """Return the picture from 0 to 1; where there is no window, black and white are the extremes."""
    match recipe.intensity:
        case "fixed":
            window = Window(centre=recipe.window_centre, width=recipe.window_width, function="LINEAR_EXACT")
            return window.grey(units_HW)
        case "percentile":
            return _between_percentiles(units_HW, 1, 99)
        case "window":
            voi = image.windows.get(recipe.window_name) if recipe.window_name else image.voi
            match voi:
                case Window():
                    return voi.grey(units_HW)
                case LookupTable():
                    return look_up(np.rint(units_HW), voi)
                case None:
                    return _between_percentiles(units_HW, 0, 100)


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
    _, height, width = image_CHW.shape
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(image_CHW, ((0, 0), (top, size - height - top), (left, size - width - left)))
