"""Turns luminance and colour differences into red, green and blue."""

# Shape letters: H rows, W columns.

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

# The photometric interpretations whose values are YCbCr after decoding, when the decoder leaves them.
YCBCR = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"})
# Those of which an uncompressed frame shares the colour of two neighbours.
SUBSAMPLED = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})

# Source: DICOM PS3.3 C.7.6.3.1.2, which is ITU-R BT.601: in full range, and for video.
_FROM_FULL = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
_FROM_PARTIAL = np.array([[1.1644, 0, 1.5960], [1.1644, -0.3917, -0.8130], [1.1644, 2.0173, 0]])


def to_rgb(image_HW3: NDArray[Any], photometric: str) -> NDArray[np.uint8]:
    """Return RGB of an 8-bit image whose photometric interpretation is one of `YCBCR`.

    Source: DICOM PS3.3 C.7.6.3.1.2.
    """
    image_HW3 = np.ascontiguousarray(image_HW3)
    rgb_HW3 = np.empty_like(image_HW3)
    if photometric == "YBR_PARTIAL_422":
        _transform(image_HW3.reshape(-1, 3), _FROM_PARTIAL, 16, rgb_HW3.reshape(-1, 3))
    else:
        _transform(image_HW3.reshape(-1, 3), _FROM_FULL, 0, rgb_HW3.reshape(-1, 3))
    return rgb_HW3


@compiled()
def _transform(
    ycbcr: NDArray[np.uint8], matrix: NDArray[np.float64], black: int, rgb: NDArray[np.uint8]
) -> None:
    for pixel in range(ycbcr.shape[0]):
        luminance = np.float64(ycbcr[pixel, 0]) - black
        blue, red = np.float64(ycbcr[pixel, 1]) - 128, np.float64(ycbcr[pixel, 2]) - 128
        for channel in range(3):
            level = matrix[channel, 0] * luminance + matrix[channel, 1] * blue + matrix[channel, 2] * red
            rgb[pixel, channel] = np.uint8(min(max(np.rint(level), 0.0), 255.0))


def upsampled(values: NDArray[Any], *, rows: int, columns: int) -> NDArray[Any]:
    """Return (H, W, 3) of bytes stored as Y1 Y2 Cb Cr, where two neighbours share a colour.

    Source: DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL_422, YBR_PARTIAL_422).
    """
    pairs = values.reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns, 3), dtype=values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for channel in (1, 2):
        full[:, 0::2, channel] = full[:, 1::2, channel] = pairs[..., channel + 1]
    return full
