"""Turns greys as they are stored into the numbers a model sees: the same at every site and in test sets."""

import numpy as np
import torch
from numpy.typing import NDArray

# Public constants: a mean taken from the hospital's own images would be a release about them.
MEAN = 0.5
SPREAD = 0.25

# Torch has no arithmetic for uint16: a grey g of 0 (black) to 65535 (white) is stored as the int16 g - 32768.
_BLACK = -(1 << 15)
_WHITE = 65535
_SCALE = np.float32(1 / (_WHITE * SPREAD))
_SHIFT = np.float32((-_BLACK / _WHITE - MEAN) / SPREAD)


def stored(grey: NDArray[np.uint16]) -> NDArray[np.int16]:
    """Return greys as they are stored; the same bits but for the highest."""
    return (grey ^ np.uint16(1 << 15)).view(np.int16)


def unstored(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Return stored greys as they were."""
    return values.view(np.uint16) ^ np.uint16(1 << 15)


def model_input(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return (grey / 65535 - 0.5) / 0.25 of stored greys, about -2 to 2; float32 passes as it is."""
    if images_NCHW.dtype == torch.float32:
        return images_NCHW
    numbers_NCHW = np.multiply(images_NCHW.numpy(), _SCALE, dtype=np.float32)
    numbers_NCHW += _SHIFT
    return torch.from_numpy(numbers_NCHW)
