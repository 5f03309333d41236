"""Measures run-length encoded pixels before they are unpacked: 8 MB of them can hold a gigabyte."""

import struct
from itertools import pairwise


def longest_segment(frame: bytes) -> int:
    """Return the unpacked length of the longest segment of an RLE `frame`, without unpacking it.

    Raises:
        struct.error: the frame is shorter than its header.

    Source: DICOM PS3.5 G.5 (the header names up to 15 segments).
    """
    num_segments, *starts = struct.unpack_from("<16L", frame)
    bounds = [*starts[:num_segments], len(frame)]
    return max((_unpacked_length(frame[start:end]) for start, end in pairwise(bounds)), default=0)


def _unpacked_length(segment: bytes) -> int:
    """Return how many bytes a segment holds: literals and runs. Source: DICOM PS3.5 G.3.2."""
    position = length = 0
    while position < len(segment):
        code = segment[position]
        if code < 128:
            length += code + 1
            position += code + 2
        elif code > 128:
            length += 257 - code
            position += 2
        else:
            position += 1
    return length
