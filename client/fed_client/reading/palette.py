"""Gives PALETTE COLOR images their colours, by tables that are unpacked no further than they say.

pydicom 3.0.2 wraps an index beyond a table of 8 bits around, shows tables of 8-bit colours in 16-bit words as
black, and expands segments without an end.
"""

# Shape letters: H rows, W columns.

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_client.reading.header import Header
from fed_client.reading.tables import Descriptor, descriptor_of, entries_of, positions, words_of
from fed_common.errors import UnreadableImageError

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR = 0, 1


def from_palette(indices_HW: NDArray[Any], header: Header, *, signed: bool) -> NDArray[np.uint8]:
    """Return RGB of a PALETTE COLOR image by its own tables, in 8 bits.

    Raises:
        UnreadableImageError: a table is missing, or isn't what its descriptor says.

    Source: DICOM PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2.
    """
    descriptors = [
        descriptor_of(header.elements, f"{colour}PaletteColorLookupTableDescriptor", signed=signed)
        for colour in _COLOURS
    ]
    if len(set(descriptors)) != 1 or descriptors[0].bits not in (8, 16):
        raise UnreadableImageError("the tables of a palette must have the same size, of 8 or 16 bits")
    descriptor = descriptors[0]
    table = np.stack([_channel(header, colour, descriptor) for colour in _COLOURS], axis=1)
    if descriptor.bits == 16 and table.max() > 255:  # else 8-bit colours were written into 16-bit words
        table >>= 8
    return table.astype(np.uint8)[positions(indices_HW, descriptor.first, descriptor.count)]


def _channel(header: Header, colour: str, descriptor: Descriptor) -> NDArray[np.uint16]:
    little_endian = header.syntax.is_little_endian
    keyword = f"{colour}PaletteColorLookupTableData"
    if header.elements.get(keyword):
        return entries_of(header.elements, keyword, descriptor, little_endian=little_endian)
    words = words_of(header.elements.get(f"Segmented{keyword}"), little_endian=little_endian)
    if descriptor.bits == 8:
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    return _expanded(words.tolist(), descriptor.count)


def _expanded(words: list[int], count: int) -> NDArray[np.uint16]:
    """Return the `count` entries that discrete and linear segments stand for.

    Raises:
        UnreadableImageError: they stand for another number, or there is an indirect segment.

    Source: DICOM PS3.3 C.7.9.2.
    """
    pieces: list[NDArray[Any]] = []
    position = filled = 0
    while position + 2 < len(words) and filled < count:
        kind, length = words[position : position + 2]
        position += 2
        if kind == _DISCRETE:
            piece = np.array(words[position : position + length])
            position += length
        elif kind == _LINEAR and pieces:
            before = pieces[-1][-1]
            steps = np.arange(1, length + 1)
            piece = np.rint(before + (words[position] - before) * steps / max(length, 1))
            position += 1
        else:
            raise UnreadableImageError("a segmented palette must have discrete and linear segments only")
        if piece.size:
            pieces.append(piece)
            filled += piece.size
    if filled != count:
        raise UnreadableImageError("a palette must hold as many values as its descriptor says")
    return np.concatenate(pieces).astype(np.uint16)
