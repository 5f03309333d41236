"""Unpacks run-length encoded frames into exactly the memory of the image, whatever the runs say.

The decoders at hand don't: pydicom's unpacks 8 MB of hostile runs into a gigabyte, pylibjpeg-rle 2.2 panics
on a segment that is a byte too long.
"""

import struct

import numba
import numpy as np
from numpy.typing import NDArray

from fed_common.errors import UnreadableImageError

_HEADER_BYTES = 64
_SHORT = 16


def unpack(frame: bytes, *, num_pixels: int, samples: int, sample_bytes: int) -> NDArray[np.uint8]:
    """Return (samples, num_pixels, sample_bytes), little-endian; what a segment holds too much is left out.

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
    unpacked = np.empty((samples, num_pixels, sample_bytes), dtype=np.uint8)
    plane = np.empty(num_pixels, dtype=np.uint8)
    for number in range(num_segments):
        sample, byte = divmod(number, sample_bytes)
        if _unpack_segment(packed[bounds[number] : bounds[number + 1]], plane) < num_pixels:
            raise UnreadableImageError("an RLE segment holds less than its share of the image")
        unpacked[sample, :, sample_bytes - 1 - byte] = plane
    return unpacked


# Not cached on disk: numba would write pickles there.
@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _unpack_segment(packed: NDArray[np.uint8], target: NDArray[np.uint8]) -> int:
    """Fill `target` and return how much of it was filled. Source: DICOM PS3.5 G.3.2.

    Short pieces are copied value by value, long ones at once: each is faster in its place.
    """
    position = filled = 0
    while position < packed.size and filled < target.size:
        code = np.int64(packed[position])
        position += 1
        if code < 128:
            count = min(code + 1, packed.size - position, target.size - filled)
            if count < _SHORT:
                for index in range(count):
                    target[filled + index] = packed[position + index]
            else:
                target[filled : filled + count] = packed[position : position + count]
            position += count
            filled += count
        elif code > 128 and position < packed.size:
            count = min(257 - code, target.size - filled)
            if count < _SHORT:
                for index in range(count):
                    target[filled + index] = packed[position]
            else:
                target[filled : filled + count] = packed[position]
            position += 1
            filled += count
    return filled
