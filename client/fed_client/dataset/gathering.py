"""Gathers stored greys at random places as the model's input, in one pass over the memory."""

# Shape letters: N images, B images of a batch, C channels, H rows, W columns, P pixels of an image.

import math

import numba
import numpy as np
from numpy.typing import NDArray

from fed_common.greys import scale_and_shift
from fed_common.plans import Normalisation


def gathered(
    values_NCHW: NDArray[np.int16], index_B: NDArray[np.int64], normalisation: Normalisation
) -> NDArray[np.float32]:
    """Return the images at `index_B` as `fed_common.greys.model_input` would.

    Raises:
        IndexError: there is no such image.
    """
    count = len(values_NCHW)
    if len(index_B) and not 0 <= index_B.min() <= index_B.max() < count:
        raise IndexError(f"images are numbered from 0 to {count - 1}")
    num_pixels = math.prod(values_NCHW.shape[1:])
    numbers_BP = np.empty((len(index_B), num_pixels), dtype=np.float32)
    _gather(values_NCHW.reshape(count, num_pixels), index_B, numbers_BP, *scale_and_shift(normalisation))
    return numbers_BP.reshape(len(index_B), *values_NCHW.shape[1:])


# numpy needs three passes for the same: gather, convert and scale, shift.
@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _gather(
    values_NP: NDArray[np.int16],
    index_B: NDArray[np.int64],
    numbers_BP: NDArray[np.float32],
    scale: np.float32,
    shift: np.float32,
) -> None:
    for place in range(len(index_B)):
        stored_P, numbers_P = values_NP[index_B[place]], numbers_BP[place]
        for pixel in range(stored_P.size):
            numbers_P[pixel] = np.float32(stored_P[pixel]) * scale + shift
