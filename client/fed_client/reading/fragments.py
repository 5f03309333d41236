"""Puts the fragments of compressed pixels together to frames, without copying more than a frame.

The order of trust: an extended offset table; one fragment for each frame; a basic offset table; the end
markers inside. Offsets that don't lead to the beginning of a fragment count as none.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise

from pydicom import Dataset

from fed_common.errors import UnreadableImageError

# A frame in the smallest usual fragments of 64 KB fills a file of the largest size sixteen times less.
MAX_FRAGMENTS = 1 << 18

_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_HEADER_BYTES = 8
# The end of a JPEG, JPEG-LS or JPEG 2000 picture, up to what may fill up the fragment after it.
_END_MARKER, _END_BYTES = b"\xff\xd9", 10

# Where each fragment's value begins and ends.
Spans = list[tuple[int, int]]


def framed(elements: Dataset, pixels: memoryview, *, num_frames: int, wanted: range) -> Iterator[memoryview]:
    """Yield the bytes of the wanted frames; those of one fragment are views.

    Raises:
        UnreadableImageError: the fragments are cut off, or can't be told apart into so many frames.

    Source: DICOM PS3.5 A.4 (fragments, basic offset table), PS3.3 C.7.6.3.1.8 (extended offset table).
    """
    table, *spans = _spans(pixels)
    groups = _extended(elements, spans, num_frames) or _grouped(pixels, table, spans, num_frames)
    for number in wanted:
        parts = [pixels[start:end] for start, end in groups[number]]
        yield parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _spans(pixels: memoryview) -> Spans:
    """Return the spans of the basic offset table and all fragments. Source: DICOM PS3.5 table A.4-1."""
    spans: Spans = []
    position = 0
    while position + _HEADER_BYTES <= len(pixels):
        group, element, length = struct.unpack_from("<HHL", pixels, position)
        if (group, element) == _END:
            break
        start = position + _HEADER_BYTES
        if (group, element) != _ITEM or start + length > len(pixels):
            raise UnreadableImageError("a fragment of PixelData is cut off")
        if len(spans) > MAX_FRAGMENTS:
            raise UnreadableImageError(f"PixelData must have at most {MAX_FRAGMENTS} fragments")
        position = start + length
        spans.append((start, position))
    if len(spans) < 2:
        raise UnreadableImageError("PixelData is missing")
    return spans


def _extended(elements: Dataset, spans: Spans, num_frames: int) -> list[Spans]:
    """Return the frames by the extended offset table, none without one.

    Source: DICOM PS3.3 C.7.6.3.1.8: one fragment for each frame, of which an odd length is filled up.
    """
    offsets, lengths = elements.get("ExtendedOffsetTable"), elements.get("ExtendedOffsetTableLengths")
    if not isinstance(offsets, bytes) or not isinstance(lengths, bytes):
        return []
    if not len(offsets) == len(lengths) == 8 * num_frames:
        raise UnreadableImageError("ExtendedOffsetTable must have one entry for each frame")
    place = f"<{num_frames}Q"
    first = spans[0][0]
    ends = dict(spans)
    frames: list[Spans] = []
    for offset, length in zip(struct.unpack(place, offsets), struct.unpack(place, lengths), strict=True):
        start = first + offset
        if start not in ends or start + length > ends[start]:
            raise UnreadableImageError("ExtendedOffsetTable must lead to the fragments")
        frames.append([(start, start + length)])
    return frames


def _grouped(pixels: memoryview, table: tuple[int, int], spans: Spans, num_frames: int) -> list[Spans]:
    if num_frames == 1:
        return [spans]
    if len(spans) == num_frames:
        return [[span] for span in spans]
    frames = _by_offsets(pixels[slice(*table)], spans, num_frames) or _by_end_markers(pixels, spans)
    if len(frames) != num_frames:
        raise UnreadableImageError("PixelData must hold as many frames as NumberOfFrames says")
    return frames


def _by_offsets(table: memoryview, spans: Spans, num_frames: int) -> list[Spans]:
    """Return the frames by the basic offset table, none if it leads elsewhere. Source: DICOM PS3.5 A.4."""
    if len(table) != 4 * num_frames:
        return []
    first = spans[0][0]
    numbers = {start - first: number for number, (start, _end) in enumerate(spans)}
    begins = [numbers.get(offset, -1) for offset in struct.unpack(f"<{num_frames}L", table)]
    if begins[0] != 0 or any(begin >= following for begin, following in pairwise(begins)):
        return []
    return [spans[begin:end] for begin, end in pairwise([*begins, len(spans)])]


def _by_end_markers(pixels: memoryview, spans: Spans) -> list[Spans]:
    """Return the frames by the markers with which they end. Source: ISO/IEC 10918-1 table B.1."""
    frames: list[Spans] = [[]]
    for start, end in spans:
        frames[-1].append((start, end))
        if _END_MARKER in bytes(pixels[max(start, end - _END_BYTES) : end]):
            frames.append([])
    return frames if frames[-1] else frames[:-1]
