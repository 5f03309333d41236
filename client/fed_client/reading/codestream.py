"""Reads how large a compressed picture says it is, before a decoder reserves memory for it.

A JPEG file of a kilobyte can announce twelve gigabytes; and one that is cut off has half a picture, of which
libjpeg and OpenJPH say nothing.
"""

import struct
from dataclasses import dataclass

from fed_common.errors import UnreadableImageError

# Start of frame, all but the markers among them that mean something else: ISO/IEC 10918-1 table B.1; the
# last is that of JPEG-LS, ISO/IEC 14495-1 C.1.1.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# Markers that stand alone. Source: ISO/IEC 10918-1 B.1.1.3.
_ALONE = {0x01, *range(0xD0, 0xD9)}
_MAX_TILES = 65_535
# Never part of the coded values. Source: ISO/IEC 10918-1 B.1.1.5, ISO/IEC 15444-1 A.4.4.
_END = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What a codestream says of its picture; `bits` are those of one sample."""

    rows: int
    columns: int
    samples: int
    bits: int


def announced_by_jpeg(frame: bytes) -> Announced:
    """Return what the frame header of a JPEG or JPEG-LS picture says.

    Raises:
        UnreadableImageError: there is none, or the picture has no end.
        struct.error, IndexError: it is cut off.

    Source: ISO/IEC 10918-1 B.1.1.2 (markers) and B.2.2 (frame header); ISO/IEC 14495-1 C.2.2.
    """
    if frame[:2] != b"\xff\xd8":
        raise UnreadableImageError("a JPEG picture must begin with its start")
    position = 2
    while position < len(frame):
        if frame[position] != 0xFF:
            break
        marker = frame[position + 1]
        if marker == 0xFF:  # a byte to fill up
            position += 1
        elif marker in _ALONE:
            position += 2
        elif marker in _START_OF_FRAME:
            _check_end(frame, position)
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return Announced(rows=rows, columns=columns, samples=samples, bits=bits)
        else:
            position += 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    raise UnreadableImageError("a JPEG picture must have a frame header")


def announced_by_jpeg_2000(frame: bytes) -> Announced:
    """Return what the image and tile size of a JPEG 2000 picture say, wrapped in a JP2 file or not.

    Raises:
        UnreadableImageError: there is none, or it has more tiles than the standard allows.
        struct.error, IndexError: it is cut off.

    Source: ISO/IEC 15444-1 A.5.1 (SIZ), table A.11 (Ssiz), I.4 (boxes).
    """
    start = _contiguous_codestream(frame)
    if frame[start : start + 4] != b"\xff\x4f\xff\x51":
        raise UnreadableImageError("a JPEG 2000 picture must begin with its size")
    sizes = struct.unpack_from(">8LH", frame, start + 8)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = sizes
    if not left < right or not top < bottom or not tile_width or not tile_height:
        raise UnreadableImageError("the size of a JPEG 2000 picture must not be 0")
    across = (right - tile_left + tile_width - 1) // tile_width
    if across * ((bottom - tile_top + tile_height - 1) // tile_height) > _MAX_TILES:
        raise UnreadableImageError(f"a JPEG 2000 picture must have at most {_MAX_TILES} tiles")
    components = frame[start + 42 : start + 42 + 3 * samples]
    if any(step != 1 for step in (*components[1::3], *components[2::3])):
        raise UnreadableImageError("all components of a JPEG 2000 picture must have the same size")
    bits = max((depth & 0x7F) + 1 for depth in components[0::3])
    return Announced(rows=bottom - top, columns=right - left, samples=samples, bits=bits)


def announced_by_high_throughput(frame: bytes) -> Announced:
    """Return the same of an HTJ2K picture, whose end its decoder doesn't miss.

    Source: ISO/IEC 15444-15 A.1 (markers as in part 1).
    """
    _check_end(frame, 0)
    return announced_by_jpeg_2000(frame)


def _check_end(frame: bytes, position: int) -> None:
    if frame.rfind(_END) < position:
        raise UnreadableImageError("the compressed picture is cut off")


def _contiguous_codestream(frame: bytes) -> int:
    """Return where the codestream begins: at once, or in the first box for it of a JP2 file."""
    position = 0
    if frame[4:8] != b"jP  ":
        return position
    while position + 8 <= len(frame):
        length, kind = struct.unpack_from(">L4s", frame, position)
        header = 8
        if length == 1:
            header, length = 16, int(struct.unpack_from(">Q", frame, position + 8)[0])
        if kind == b"jp2c":
            return position + header
        if length < header:
            break
        position += length
    raise UnreadableImageError("a JP2 picture must hold a codestream")
