"""Finds the frames of a file one at a time, and what the file says of each of them."""

from collections.abc import Iterator

import numpy as np
from pydicom import Dataset

from fed_client.reading.codecs import is_encapsulated
from fed_client.reading.codes import first_code, items_of
from fed_client.reading.fragments import framed
from fed_client.reading.header import MEANING, Header, PixelData
from fed_client.reading.layout import Layout
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

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
    """Yield the bytes of the wanted frames, as views into the file where they can be.

    Raises:
        UnreadableImageError: there are fewer than the header says.

    Source: DICOM PS3.5 8.1.1 (frames follow each other), A.4 (fragments and offset tables).
    """
    if is_encapsulated(header.syntax) != pixels.encapsulated:
        raise UnreadableImageError("PixelData and the transfer syntax disagree about compression")
    if pixels.encapsulated:
        yield from framed(header.elements, pixels.value, num_frames=num_frames, wanted=wanted)
        return
    size = layout.frame_bytes
    if len(pixels.value) < size * num_frames:
        raise UnreadableImageError("PixelData is shorter than the image")
    in_swapped_words = pixels.words and not layout.little_endian and layout.bits_allocated == 8
    for number in wanted:
        start, end = number * size, (number + 1) * size
        yield _swapped(pixels.value, start, end) if in_swapped_words else pixels.value[start:end]


def _swapped(value: memoryview, start: int, end: int) -> memoryview:
    """Return the bytes of big-endian words in the order in which little-endian words have them.

    Source: DICOM PS3.5 7.3 and 8.1.1: in OW, two 8-bit values share a word, the first its low byte.
    """
    words = np.frombuffer(value[start - start % 2 : end + end % 2], dtype=np.uint16)
    return memoryview(words.byteswap().tobytes())[start % 2 : start % 2 + end - start]


def groups_of(elements: Dataset, frame: int) -> list[Dataset]:
    """Return the functional groups of a frame, the shared ones first.

    Source: DICOM PS3.3 C.7.6.16.1.1 (multi-frame functional groups module).
    """
    per_frame = elements.get("PerFrameFunctionalGroupsSequence")
    if per_frame and frame >= len(per_frame):
        raise UnreadableImageError("PerFrameFunctionalGroupsSequence must have one item for each frame")
    shared = list(items_of(elements, "SharedFunctionalGroupsSequence"))[:1]
    return [*shared, per_frame[frame]] if per_frame else shared


def meaning_elements(elements: Dataset, groups: list[Dataset]) -> Dataset:
    """Return the elements that give a frame's values their meaning, and no others: there may be thousands.

    Those of the frame's own functional groups stand before the shared ones, these before the image's.
    Source: DICOM PS3.3 C.7.6.16.2.9 (pixel value transformation) and C.7.6.16.2.10 (frame VOI LUT).
    """
    meaning = Dataset()
    for source in (elements, *_meaning_items(groups)):
        for keyword in MEANING:
            if keyword in source:
                meaning.add(source[keyword])
    return meaning


def _meaning_items(groups: list[Dataset]) -> Iterator[Dataset]:
    for group in groups:
        for name in _MEANING_GROUPS:
            yield from list(items_of(group, name))[:1]


def region(elements: Dataset, groups: list[Dataset]) -> str:
    """Return the code of the anatomic region, empty if there is none.

    Source: DICOM PS3.3 10.5 (general anatomy macros), C.7.6.16.2.8 (frame anatomy).
    """
    anatomy = [item for group in groups for item in items_of(group, "FrameAnatomySequence")]
    codes = (first_code(item, "AnatomicRegionSequence") for item in (*reversed(anatomy), elements))
    return next(filter(None, codes), "")
