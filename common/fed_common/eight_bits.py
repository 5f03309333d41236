"""Updates as 8-bit integers, a block of them to one scale: a quarter of float32, at the price of some noise.

Each value v of a block becomes floor(v / s + u), where s is 1/127 of the block's largest value and u is drawn
from between 0 and 1, so that its mean is v / s: what is lost is no bias, and shorter than s. Only what has
been clipped and noised is written so. Scales differ from site to site, so such updates don't add up under
masks.

Source: Alistarh, Grubic, Li, Tomioka and Vojnovic, "QSGD: Communication-Efficient SGD via Gradient
Quantization and Encoding" (2017), section 3.1, with the largest value of a bucket in the place of its norm.

Layout: the scales as little-endian float32, then one signed byte for each value.
"""

# Shape letters: P parameters of the flattened model, C of a chunk, V of a block of them, B blocks.

import math

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fed_common.array_bytes import array_bytes
from fed_common.compiled import compiled
from fed_common.errors import MalformedMessageError
from fed_common.fixedpoint import MAX_ABS_VALUE, SCALE
from fed_common.names import Bytes

BLOCK = 4096
_LARGEST = 127
# A whole number of blocks, with keystream for so many values in the cache.
_CHUNK = 16 * BLOCK
_ZEROS = memoryview(bytes(2 * _CHUNK))
# Half a step of the fixed point that is read from it: a block without a larger value is all zero.
_NOTHING = 0.5 / SCALE

_compiled = compiled(error_model="numpy")


def num_bytes(size: int) -> int:
    """Return how many bytes so many values take."""
    return 4 * _num_blocks(size) + size


def encode(values_P: NDArray[np.float64], *, longest: float, key: bytes) -> Bytes:
    """Return the update, whose length is at most `longest`, rounded by AES-CTR keystream of a 32-byte `key`.

    What rounding added beyond `longest` is taken away again by the scales. A key is used once.

    Raises:
        MalformedMessageError: a value isn't finite or is too large to be encoded.
    """
    values_P = np.ascontiguousarray(values_P, dtype=np.float64)  # compiled code reads bits, as of these
    size = values_P.size
    raw = np.empty(num_bytes(size), dtype=np.uint8)
    scales_B: NDArray[np.float32] = raw[: raw.size - size].view("<f4")
    codes_P = raw[raw.size - size :].view(np.int8)
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    words_C = np.empty(_CHUNK + 8, dtype="<u2")  # `update_into` asks for 15 bytes more
    squares = 0.0
    for start in range(0, size, _CHUNK):
        values_C = values_P[start : start + _CHUNK]
        stream.update_into(_ZEROS[: 2 * values_C.size], words_C.data.cast("B"))
        blocks = slice(start // BLOCK, _num_blocks(start + values_C.size))
        squares += _write_codes(values_C, words_C, scales_B[blocks], codes_P[start : start + _CHUNK])
    if not squares < math.inf:  # compared so that NaN fails
        raise MalformedMessageError("an update holds a value that is not finite or is beyond 2^30")
    if squares > longest**2:
        scales_B *= longest / math.sqrt(squares)
    raw.flags.writeable = False
    return array_bytes(raw, "u1")


def decode(raw: Bytes, *, size: int) -> NDArray[np.int64]:
    """Return the `size` values in `raw` in fixed point (`fed_common.fixedpoint`).

    Raises:
        MalformedMessageError: `raw` has another length, or says what `encode` never says.
    """
    if len(raw) != num_bytes(size):
        raise MalformedMessageError(
            f"an update in 8 bits must have {num_bytes(size)} bytes for {size} parameters, got {len(raw)}"
        )
    # Aligned, as compiled loops like it: in a message they may lie at any byte.
    scales_B = np.array(np.frombuffer(raw, dtype="<f4", count=_num_blocks(size)))
    codes_P = np.frombuffer(raw, dtype=np.int8, offset=scales_B.nbytes)
    if not np.all((scales_B >= 0) & (scales_B < MAX_ABS_VALUE / _LARGEST)):  # compared so that NaN fails
        raise MalformedMessageError("an update's scale is not a number from 0 up to 2^30 / 127")
    if np.any(codes_P < -_LARGEST):
        raise MalformedMessageError("an update in 8 bits holds a -128, which stands for nothing")
    fixed_P = np.empty(size, dtype=np.int64)
    _write_fixed(codes_P, scales_B, fixed_P)
    return fixed_P


def _num_blocks(size: int) -> int:
    return -(-size // BLOCK)


@_compiled
def _write_codes(
    values_C: NDArray[np.float64],
    words_C: NDArray[np.uint16],
    scales_B: NDArray[np.float32],
    codes_C: NDArray[np.int8],
) -> float:
    """Write scales and codes; return the sum of the squares that they stand for, infinite if a value is none.

    With words of 16 bits, a mean is within 2^-17 steps of its value, and a whole number of steps stays one.
    """
    squares = 0.0
    for block in range(scales_B.size):
        first, end = block * BLOCK, min((block + 1) * BLOCK, values_C.size)
        values_V, words_V, codes_V = values_C[first:end], words_C[first:end], codes_C[first:end]
        largest = _largest(values_V.view(np.uint64))
        if not largest < MAX_ABS_VALUE:  # compared so that NaN fails
            return np.inf
        if largest <= _NOTHING:
            scales_B[block] = 0
            codes_V[:] = 0
            continue
        scale = np.float32(largest / _LARGEST)
        if np.float64(scale) * _LARGEST < largest:  # rounded down: the largest value would get the code 128
            scale = np.float32(np.float64(scale) * (1 + 2.0**-23))
        scales_B[block] = scale
        step = np.float64(scale)
        for place in range(values_V.size):
            draw = np.float64(np.int32(words_V[place])) * 2.0**-16 + 2.0**-17
            codes_V[place] = np.int32(np.floor(values_V[place] / step + draw))
        squares += _sum_of_squares(codes_V) * step * step
    return squares


@_compiled
def _largest(bits_V: NDArray[np.uint64]) -> float:
    """Return the largest of float64 numbers without their signs, NaN if one is NaN.

    As integers they have the same order, NaN beyond all, and are compared in parallel lanes.
    """
    largest = np.uint64(0)
    for place in range(bits_V.size):
        largest = max(largest, bits_V[place] & np.uint64(0x7FFFFFFFFFFFFFFF))
    number: float = np.uint64(largest).view(np.float64)
    return number


@_compiled
def _sum_of_squares(codes_V: NDArray[np.int8]) -> int:
    """Return it of one block, for which 32 bits are enough."""
    total = np.int32(0)
    for place in range(codes_V.size):
        code = np.int32(codes_V[place])
        total = np.int32(total + np.int32(code * code))
    return int(total)


@_compiled
def _write_fixed(
    codes_P: NDArray[np.int8], scales_B: NDArray[np.float32], fixed_P: NDArray[np.int64]
) -> None:
    """Write what codes and scales stand for: no product of both has more bits than a float64 holds."""
    for block in range(scales_B.size):
        first, end = block * BLOCK, min((block + 1) * BLOCK, fixed_P.size)
        codes_V, fixed_V = codes_P[first:end], fixed_P[first:end]
        step = np.float64(scales_B[block]) * SCALE
        for place in range(codes_V.size):
            fixed_V[place] = np.int64(np.rint(codes_V[place] * step))
