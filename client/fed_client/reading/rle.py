"""Unpacks run-length encoded frames into exactly the memory of the image, whatever the runs say.

The decoders at hand don't: pydicom's unpacks 8 MB of hostile runs into a gigabyte, pylibjpeg-rle 2.2 panics
on a segment that is a byte too long.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from fed_common.errors import UnreadableImageError

_HEADER_BYTES = 64
# A run or a literal has at most 128 values, and is written in whole blocks.
_LONGEST, _BLOCK = 128, 8


def unpack(frame: bytes | memoryview, *, num_pixels: int, samples: int, sample_bytes: int) -> NDArray[Any]:
    """Return (samples, num_pixels) unsigned values; what a segment holds too much is left out.

    Raises:
        UnreadableImageError: a segment is missing, or holds less than its share of the image.

    Source: DICOM PS3.5 annex G: the header names the segments, one for each byte of a sample, the most
    significant first.
    """
    if len(frame) < _HEADER_BYTES:
        raise UnreadableImageError("an RLE frame must begin with a header of 64 bytes")
    num_segments, *starts = struct.unpack_from("<16L", frame)
    if num_segments != samples * sample_bytes:
        raise UnreadableImageError("an RLE frame must have one segment for each byte of a sample")
    bounds = [*starts[:num_segments], len(frame)]
    if bounds[0] < _HEADER_BYTES or sorted(bounds) != bounds:
        raise UnreadableImageError("the segments of an RLE frame must follow each other")
    packed = np.frombuffer(frame, dtype=np.uint8)
    planes = np.empty((num_segments, num_pixels + _LONGEST + _BLOCK), dtype=np.uint8)
    for number, plane in enumerate(planes):
        if _unpack_segment(packed[bounds[number] : bounds[number + 1]], plane, num_pixels) < num_pixels:
            raise UnreadableImageError("an RLE segment holds less than its share of the image")
    bytes_of_sample = planes[:, :num_pixels].reshape(samples, sample_bytes, num_pixels)
    return np.stack([_joined(sample) for sample in bytes_of_sample])


def _joined(planes: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
    """Return the values of which `planes` are the bytes, the most significant first."""
    if len(planes) == 1:
        return planes[0]
    middle = len(planes) // 2
    high, low = _joined(planes[:middle]), _joined(planes[middle:])
    values = np.empty(low.size, dtype=f"u{2 * low.itemsize}")
    _join(high, low, values, 8 * low.itemsize)
    return values


# Not cached on disk: numba would write pickles there.
@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _join(high: NDArray[Any], low: NDArray[Any], values: NDArray[Any], bits: int) -> None:
    for index in range(values.size):
        values[index] = (np.uint64(high[index]) << np.uint64(bits)) | np.uint64(low[index])


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _unpack_segment(packed: NDArray[np.uint8], target: NDArray[np.uint8], wanted: int) -> int:
    """Fill `wanted` values of `target`, which has room for a block more, and return how many there were.

    Short pieces are written as whole blocks, whose rest the next piece overwrites: a block is one
    instruction, a loop of unknown length a mispredicted branch.
    Source: DICOM PS3.5 G.3.2.
    """
    position = filled = 0
    while position < packed.size and filled < wanted:
        code: Any = np.int64(packed[position])  # unsigned, it would make floats of what is added
        position += 1
        if code < 128:
            count = min(code + 1, packed.size - position)
            if count <= _BLOCK and position + _BLOCK <= packed.size:
                for index in range(_BLOCK):
                    target[filled + index] = packed[position + index]
            else:
                target[filled : filled + count] = packed[position : position + count]
            position += count
            filled += count
        elif code > 128 and position < packed.size:
            count = 257 - code
            if count <= _BLOCK:
                for index in range(_BLOCK):
                    target[filled + index] = packed[position]
            else:
                target[filled : filled + count] = packed[position]
            position += 1
            filled += count
    return min(filled, wanted)
