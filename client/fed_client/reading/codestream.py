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
_MAX_LEVELS = 32
# Enough for the subbands of 16-bit samples, with guards; words of 32 bits hold no more.
_MAX_BITS = 28
_START_OF_TILE = 0xFF90
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

    Source: ISO/IEC 15444-1 A.5.1 (SIZ), B.3 (tiles), table A.11 (Ssiz), I.4 (boxes).
    """
    start = _contiguous_codestream(frame)
    if frame[start : start + 4] != b"\xff\x4f\xff\x51":
        raise UnreadableImageError("a JPEG 2000 picture must begin with its size")
    sizes = struct.unpack_from(">8LH", frame, start + 8)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = sizes
    if not left < right or not top < bottom or not tile_width or not tile_height:
        raise UnreadableImageError("the size of a JPEG 2000 picture must not be 0")
    if not tile_left <= left < tile_left + tile_width or not tile_top <= top < tile_top + tile_height:
        raise UnreadableImageError("the first tile of a JPEG 2000 picture must cover its corner")
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
    announced = announced_by_jpeg_2000(frame)
    _check_steps(frame)
    return announced


def _check_steps(frame: bytes) -> None:
    """Refuse a picture without a bearable quantisation step for each subband: OpenJPH 0.26 believes them.

    Source: ISO/IEC 15444-1 A.6.1 (COD), A.6.2 (COC), A.6.4 and table A.27 (QCD), A.6.5 (QCC), E.1.
    """
    position, levels = 2, 0
    stated: list[int] = []
    while (marker := struct.unpack_from(">H", frame, position)[0]) != _START_OF_TILE:
        (length,) = struct.unpack_from(">H", frame, position + 2)
        segment = frame[position + 4 : position + 2 + length]
        match marker:
            case 0xFF52:  # COD
                levels = max(levels, segment[5])
            case 0xFF53:  # COC
                levels = max(levels, segment[2])
            case 0xFF5C:  # QCD
                stated.append(_steps(segment))
            case 0xFF5D:  # QCC, of components that a byte can number
                stated.append(_steps(segment[1:]))
        position += 2 + length
    if levels > _MAX_LEVELS or min(stated, default=0) < 3 * levels + 1:
        raise UnreadableImageError("a JPEG 2000 picture must state a step for each subband")


def _steps(segment: bytes) -> int:
    """Return how many subbands have a step; one step for all is for any number of them.

    Source: ISO/IEC 15444-1 table A.28 (style and guard bits), tables A.29 and A.30 (exponents).
    """
    style, guard_bits = segment[0] & 0x1F, segment[0] >> 5
    exponents = [value >> 3 for value in (segment[1:] if style == 0 else segment[1::2])]
    if max(exponents, default=0) + guard_bits > _MAX_BITS:
        raise UnreadableImageError(f"a subband of a JPEG 2000 picture must have at most {_MAX_BITS} bits")
    return 3 * _MAX_LEVELS + 1 if style == 1 and exponents else len(exponents)


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
