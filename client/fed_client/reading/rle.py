"""Unpacks run-length encoded frames into exactly the memory of the image, whatever the runs say.

The decoders at hand don't: pydicom's unpacks 8 MB of hostile runs into a gigabyte, pylibjpeg-rle 2.2 panics
on a segment that is a byte too long.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fed_common.compiled import compiled
from fed_common.errors import UnreadableImageError

_HEADER_BYTES = 64
# A run or a literal has at most 128 values; what is copied is copied in whole blocks.
_LONGEST, _BLOCK, _SHORT = 128, 32, 8
# So many values are unpacked of each segment in turn: their bytes are joined while they are in the cache.
_PIECE = 1 << 14


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
    packed.flags.writeable = False  # numba would compile for either kind
    values = np.empty((samples, num_pixels), dtype=f"u{sample_bytes}")
    for number, sample in enumerate(values):
        first = number * sample_bytes
        if not _unpack_sample(packed, np.array(bounds[first : first + sample_bytes + 1]), sample):
            raise UnreadableImageError("an RLE segment holds less than its share of the image")
    return values


@compiled()
def _unpack_sample(packed: NDArray[np.uint8], bounds: NDArray[np.int64], values: NDArray[Any]) -> bool:
    """Fill `values` from the segments between `bounds`; tell whether each of them held enough."""
    num_bytes = bounds.size - 1
    pieces = np.empty((num_bytes, _PIECE + _LONGEST + _BLOCK), dtype=np.uint8)
    positions, filled = bounds[:num_bytes].copy(), np.zeros(num_bytes, dtype=np.int64)
    for start in range(0, values.size, _PIECE):
        part = values[start : start + _PIECE]
        wanted = part.size
        for number in range(num_bytes):
            piece = pieces[number]
            positions[number], total = _unpack_piece(
                packed, positions[number], bounds[number + 1], piece, filled[number], wanted
            )
            if total < wanted:
                return False
            if number == 0:
                # Not assigned as a whole: numba would compile the words of a wrong shape's error, for 3 s.
                for index in range(wanted):
                    part[index] = piece[index]
            else:
                for index in range(wanted):
                    part[index] = (part[index] << 8) | piece[index]
            filled[number] = total - wanted
            for index in range(total - wanted):  # what a run holds beyond this piece
                piece[index] = piece[wanted + index]
    return True


@intrinsic  # type: ignore[untyped-decorator]
def _copy_block(
    typing_context: object, target: types.Type, at: types.Type, source: types.Type, start: types.Type
) -> tuple[object, Callable[..., object]]:
    """Copy a block in one instruction, without a look at the bounds.

    Of a loop over bytes the compiler can't know that its arrays don't overlap.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> object:  # noqa: ANN401 - numba's
        block = ir.VectorType(ir.IntType(8), _BLOCK).as_pointer()
        places = [
            builder.bitcast(
                builder.gep(context.make_array(kind)(context, builder, array).data, [index]), block
            )
            for kind, array, index in zip(signature.args[::2], arguments[::2], arguments[1::2], strict=True)
        ]
        builder.store(builder.load(places[1], align=1), places[0], align=1)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), generate


@compiled()
def _unpack_piece(
    packed: NDArray[np.uint8],
    position: int,
    end: int,
    target: NDArray[np.uint8],
    filled: int,
    wanted: int,
) -> tuple[int, int]:
    """Fill `target` from `filled` to `wanted` or beyond; return where the next piece begins, and how far.

    `target` has room for the longest run and a block more: pieces are written as whole blocks, whose rest
    the next piece overwrites.
    Source: DICOM PS3.5 G.3.2.
    """
    while position < end and filled < wanted:
        code: Any = np.int64(packed[position])  # unsigned, it would make floats of what is added
        position += 1
        if code < 128:
            count = min(code + 1, end - position)
            if position + _LONGEST + _BLOCK <= packed.size:
                for block in range(0, count, _BLOCK):
                    _copy_block(target, filled + block, packed, position + block)
            else:
                for index in range(count):
                    target[filled + index] = packed[position + index]
            position += count
            filled += count
        elif code > 128 and position < end:
            count = 257 - code
            if count <= _SHORT:
                for index in range(_SHORT):
                    target[filled + index] = packed[position]
            else:
                target[filled : filled + count] = packed[position]
            position += 1
            filled += count
    return position, filled
