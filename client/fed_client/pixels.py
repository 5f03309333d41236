"""Turns de-identified pixels into the tensor the model sees, by the recipe that all sites share."""

# Shape letters: C channels, H rows, W columns. `HW` pixels have a last dimension of 3 if in colour.

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from fed_client.deidentify import DeidentifiedImage
from fed_client.window import Window
from fed_common.greys import MEAN, SPREAD
from fed_common.task import Recipe

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def prepare(image: DeidentifiedImage, recipe: Recipe) -> NDArray[np.float32]:
    """Return the image as (channels, size, size), about -2 (black) to 2 (white).

    The image is padded to a square with black before it is resized, so that shapes keep their
    proportions; resizing is anti-aliased.
    """
    grey_HW = _grey(image, recipe)
    if image.inverted:
        grey_HW = 1 - grey_HW
    square_CHW = torch.from_numpy(_pad_to_square(_channels(grey_HW, recipe.channels)))
    size = (recipe.size, recipe.size)
    resized_CHW = interpolate(square_CHW[None], size=size, mode="bilinear", antialias=True)[0]
    prepared: NDArray[np.float32] = ((resized_CHW - MEAN) / SPREAD).numpy()
    return prepared


def _grey(image: DeidentifiedImage, recipe: Recipe) -> NDArray[np.float32]:
    """Return the pixels from 0 to 1; without a window, black and white are the extremes."""
    if recipe.intensity == "window" and image.window is not None:
        return image.window.grey(image.pixels)
    percentiles = (1, 99) if recipe.intensity == "percentile" else (0, 100)
    black, white = np.percentile(image.pixels, percentiles)
    if black == white:
        return np.zeros_like(image.pixels)
    return Window(centre=float(black + white) / 2, width=float(white - black), function="LINEAR_EXACT").grey(
        image.pixels
    )


def _channels(grey_HW: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    in_colour = grey_HW.ndim == 3
    if channels == 1:
        return (grey_HW @ _LUMINANCE if in_colour else grey_HW)[None]
    return np.moveaxis(grey_HW, 2, 0) if in_colour else np.repeat(grey_HW[None], 3, axis=0)


def _pad_to_square(image_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
    _, height, width = image_CHW.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(image_CHW, ((0, 0), (top, side - height - top), (left, side - width - left)))
