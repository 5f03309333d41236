"""Gives PALETTE COLOR images their colours, by tables that are unpacked no further than they say.

pydicom 3.0.2 wraps an index beyond a table of 8 bits around, shows tables of 8-bit colours in 16-bit words as
black, expands segments without an end, and counts the offset of an indirect one in words instead of bytes.
"""

# Shape letters: H rows, W columns.

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_client.reading.header import Header
from fed_client.reading.tables import Descriptor, descriptor_of, entries_of, positions, words_of
from fed_common.errors import UnreadableImageError

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


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
    return _Segments(words=words.tolist(), entry_bits=descriptor.bits).expanded(descriptor.count)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Segments:
    """A segmented palette: discrete segments, linear ones, and indirect ones that repeat some of them.

    Source: DICOM PS3.3 C.7.9.2.
    """

    words: list[int]
    entry_bits: int

    def expanded(self, count: int) -> NDArray[np.uint16]:
        """Return the `count` entries that the segments stand for.

        Raises:
            UnreadableImageError: they stand for another number, or one isn't whole.
        """
        entries: list[int] = []
        position = 0
        # Each segment adds an entry, so that this ends; an odd byte pads the last word.
        while position + 2 < len(self.words) and len(entries) < count:
            if self.words[position] == _INDIRECT:
                position = self._repeat(position, entries, count)
            else:
                position = self._append(position, entries)
        if len(entries) != count:
            raise UnreadableImageError("a palette must hold as many values as its descriptor says")
        return np.array(entries, dtype=np.uint16)

    def _append(self, position: int, entries: list[int]) -> int:
        """Append the entries of the segment at `position`, and return where it ends."""
        segment = self.words[position : position + 3]
        if len(segment) < 3 or not segment[1]:
            raise UnreadableImageError("a segment of a palette must have values")
        kind, length, first = segment
        if kind == _DISCRETE:
            end = position + 2 + length
            entries += self.words[position + 2 : end]
            return end
        if kind != _LINEAR or not entries:
            raise UnreadableImageError(
                "a segmented palette must begin with a discrete segment, and point to no indirect one"
            )
        before = entries[-1]
        steps = np.arange(1, length + 1)
        entries += np.rint(before + (first - before) * steps / length).astype(int).tolist()
        return position + 3

    def _repeat(self, position: int, entries: list[int], count: int) -> int:
        """Append what the indirect segment at `position` points to, and return where it ends.

        Its offset counts bytes from the first segment, low half first. Source: DICOM PS3.3 C.7.9.2.3.
        """
        end = position + 2 + 32 // self.entry_bits
        digits = self.words[position + 2 : end]
        offset = sum(digit << (self.entry_bits * place) for place, digit in enumerate(digits))
        source, odd = divmod(offset, self.entry_bits // 8)
        if end > len(self.words) or odd:
            raise UnreadableImageError("an indirect segment of a palette must point to a segment")
        for _ in range(self.words[position + 1]):
            if len(entries) >= count:
                break
            source = self._append(source, entries)
        return end
