"""Gathers stored greys at random places as the model's input."""

# Shape letters: N images, B images of a batch, C channels, H rows, W columns, P pixels of an image.

import math

import numpy as np
from numpy.typing import NDArray

from fed_client.loops.gathering import gather
from fed_common.greys import scale_and_shift
from fed_common.plans import Normalisation


def gathered(
    values_NCHW: NDArray[np.int16], index_B: NDArray[np.int64], normalisation: Normalisation
) -> NDArray[np.float32]:
    """Return the images at `index_B` as `fed_common.greys.model_input` would.

    Raises:
        IndexError: there is no such image.
    """
    if index_B.size and not 0 <= index_B.min() <= index_B.max() < len(values_NCHW):
        raise IndexError(f"images are numbered from 0 to {len(values_NCHW) - 1}")
    numbers_BCHW = np.empty((len(index_B), *values_NCHW.shape[1:]), dtype=np.float32)
    # Of no image at all, -1 would have any length.
    pixels = math.prod(values_NCHW.shape[1:])
    values_NP, numbers_BP = values_NCHW.reshape(-1, pixels), numbers_BCHW.reshape(-1, pixels)
    gather(values_NP, index_B, numbers_BP, *scale_and_shift(normalisation))
    return numbers_BCHW
