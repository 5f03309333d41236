"""Finds the frames of a file one at a time, and what the file says of each of them."""

import struct
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.encaps import generate_frames

from fed_client.reading.codecs import Layout, is_encapsulated
from fed_client.reading.header import Header, PixelData
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

MAX_FRAMES = 4096

# The functional groups in which an enhanced image keeps what a plain one has at the top.
_MEANING_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def chosen(num_frames: int, frames: Frames) -> range:
    """Return which frames are examples; the middle one of an even number is the later."""
    match frames:
        case "each":
            return range(num_frames)
        case "first":
            return range(1)
        case "middle":
            return range(num_frames // 2, num_frames // 2 + 1)


def frame_bytes(
    header: Header, pixels: PixelData, layout: Layout, *, num_frames: int, wanted: range
) -> Iterator[memoryview]:
    """Yield the bytes of the wanted frames, uncompressed ones as views into the file.

    Raises:
        UnreadableImageError: there are fewer than the header says.

    Source: DICOM PS3.5 8.1.1 (frames follow each other), A.4 (fragments and offset tables).
    """
    if is_encapsulated(header.syntax) != pixels.encapsulated:
        raise UnreadableImageError("PixelData and the transfer syntax disagree about compression")
    if pixels.encapsulated:
        yield from _fragmented(header.elements, pixels.value, num_frames=num_frames, wanted=wanted)
        return
    size = layout.frame_bytes
    if len(pixels.value) < size * num_frames:
        raise UnreadableImageError("PixelData is shorter than the image")
    for number in wanted:
        end = (number + 1) * size
        yield pixels.value[number * size : end + (end % 2 if layout.swapped_words else 0)]


def _fragmented(
    elements: Dataset, pixels: memoryview, *, num_frames: int, wanted: range
) -> Iterator[memoryview]:
    offsets, lengths = elements.get("ExtendedOffsetTable"), elements.get("ExtendedOffsetTableLengths")
    table = (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None
    if table and not len(table[0]) == len(table[1]) == 8 * num_frames:
        raise UnreadableImageError("ExtendedOffsetTable must have one entry per frame")
    _check_lengths(pixels)
    found = 0
    stream = pixels.tobytes()
    for number, frame in enumerate(
        generate_frames(stream, number_of_frames=num_frames, extended_offsets=table)
    ):
        if number in wanted:
            found += 1
            yield memoryview(frame)
        if number >= wanted[-1]:
            break
    if found < len(wanted):
        raise UnreadableImageError("PixelData holds fewer frames than NumberOfFrames says")


def _check_lengths(pixels: memoryview) -> None:
    """Walk over the fragments once: each must lie inside the file. Source: DICOM PS3.5 A.4."""
    position = 0
    while position + 8 <= len(pixels):
        group, element, length = struct.unpack_from("<HHL", pixels, position)
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or position + 8 + length > len(pixels):
            raise UnreadableImageError("a fragment of PixelData is cut off")
        position += 8 + length


def meaning_elements(elements: Dataset, frame: int) -> Dataset:
    """Return the elements that give a frame's values their meaning.

    Those of the frame's own functional groups stand before the shared ones, these before the image's.
    Source: DICOM PS3.3 C.7.6.16.1.1, C.7.6.16.2.9 (pixel value transformation), C.7.6.16.2.10 (VOI LUT).
    """
    per_frame = elements.get("PerFrameFunctionalGroupsSequence")
    shared = elements.get("SharedFunctionalGroupsSequence")
    if not per_frame and not shared:
        return elements
    merged = Dataset()
    merged.update(elements)
    for groups in (shared[0] if shared else None, per_frame[frame] if per_frame else None):
        for name in _MEANING_GROUPS:
            sequence = groups.get(name) if groups is not None else None
            if sequence:
                merged.update(sequence[0])
    return merged
