"""Compiled loop that gathers stored greys at random places, in one pass over the memory."""

# Shape letters: N images, B images of a batch, P pixels of an image.

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled


# numpy needs three passes for the same: gather, convert and scale, shift.
@compiled("const i2[:,:], const i8[:], f4[:,:], f4, f4")
def gather(
    values_NP: NDArray[np.int16],
    index_B: NDArray[np.int64],
    numbers_BP: NDArray[np.float32],
    scale: np.float32,
    shift: np.float32,
) -> None:
    """Fill `numbers_BP`; compiled code doesn't look whether there is an image at each index."""
    for place in range(len(index_B)):
        stored_P, numbers_P = values_NP[index_B[place]], numbers_BP[place]
        for pixel in range(stored_P.size):
            numbers_P[pixel] = np.float32(stored_P[pixel]) * scale + shift
