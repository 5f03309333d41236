"""Turns greys as they are stored into the numbers a model sees: the same at every site and in test sets."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from fed_common.plans import Normalisation

# What float32 pictures, as those of a test set, were made with.
USUAL = Normalisation()

# Torch has no arithmetic for uint16: a grey g of 0 (black) to 65535 (white) is stored as the int16 g - 32768.
_BLACK = -(1 << 15)
_WHITE = 65535


def stored(grey: NDArray[np.uint16]) -> NDArray[np.int16]:
    """Return greys as they are stored; the same bits but for the highest."""
    return (grey ^ np.uint16(1 << 15)).view(np.int16)


def unstored(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Return stored greys as they were."""
    return values.view(np.uint16) ^ np.uint16(1 << 15)


@functools.lru_cache  # asked for every batch
def scale_and_shift(normalisation: Normalisation) -> tuple[np.float32, np.float32]:
    """Return what a stored grey is multiplied with, and what is added, to become a model's input."""
    scale = 1 / (_WHITE * normalisation.spread)
    shift = (-_BLACK / _WHITE - normalisation.mean) / normalisation.spread
    return np.float32(scale), np.float32(shift)


def model_input(images_NCHW: torch.Tensor, normalisation: Normalisation = USUAL) -> torch.Tensor:
    """Return (grey / 65535 - mean) / spread of stored greys, usually about -2 to 2.

    Float32 pictures must have been made with the usual normalisation; another one moves them over.
    """
    if images_NCHW.dtype == torch.float32:
        return renormalised(images_NCHW, normalisation)
    scale, shift = scale_and_shift(normalisation)
    numbers_NCHW = np.multiply(images_NCHW.numpy(), scale, dtype=np.float32)
    numbers_NCHW += shift
    return torch.from_numpy(numbers_NCHW)


def renormalised(images_NCHW: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Return float32 pictures, made with the usual normalisation, by another."""
    if normalisation == USUAL:
        return images_NCHW
    mean, spread = normalisation.mean, normalisation.spread
    return images_NCHW * (USUAL.spread / spread) + (USUAL.mean - mean) / spread


def grey_bins(images_NCHW: torch.Tensor, *, bins: int) -> NDArray[np.int64]:
    """Return in which of `bins` equal steps from black to white each grey is; NaN counts as black.

    Takes stored greys, or float32 pictures made with the usual normalisation.
    """
    if images_NCHW.dtype == torch.float32:
        greys_NCHW = images_NCHW.numpy().astype(np.float64) * USUAL.spread + USUAL.mean
        greys_NCHW = np.clip(np.nan_to_num(greys_NCHW, nan=0.0), 0, 1)
        return np.minimum(np.floor(greys_NCHW * bins), bins - 1).astype(np.int64)
    places: NDArray[np.int64] = ((images_NCHW.numpy().astype(np.int64) - _BLACK) * bins) >> 16
    return places
