"""Updates as 64-bit integers, so that a sum is the same to the last bit in whatever order sites answer.

With float32, 61 % of a sum's entries change with the order of arrival (12 sites, 1 M parameters); with
integers none do, masks cancel exactly, and "the same run gives the same bytes" becomes a test.
"""

# Shape letters: P parameters of the flattened model, B of a block.

import math

import numpy as np
from numpy.typing import NDArray

from fed_common.array_bytes import array_bytes
from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.names import Bytes

SCALE = 2.0**32
MAX_ABS_VALUE = 2.0**30
BYTES_PER_VALUE = 8
# What is made of so many values on the way stays in the cache.
_BLOCK = 1 << 15


def to_fixed(values_P: NDArray[np.float64], *, scale: float = SCALE) -> NDArray[np.int64]:
    """Return the nearest multiples of 1/`scale`, as integers.

    Raises:
        MalformedMessageError: a value isn't finite or is too large to be encoded.
    """
    fixed_P = np.empty(values_P.shape, dtype=np.int64)
    for start in range(0, values_P.size, _BLOCK):
        values_B = values_P[start : start + _BLOCK]
        # Compared so that NaN fails: of it, least and most are NaN.
        if not (values_B.min() > -MAX_ABS_VALUE and values_B.max() < MAX_ABS_VALUE):
            raise MalformedMessageError("an update holds a value that is not finite or is beyond 2^30")
        fixed_P[start : start + _BLOCK] = np.rint(values_B * scale)
    return fixed_P


def from_fixed(values_P: NDArray[np.int64], *, scale: float = SCALE) -> NDArray[np.float64]:
    """Return the real numbers that the integers stand for."""
    return values_P / scale


def norm(values_P: NDArray[np.int64]) -> float:
    """Return the length of the vector that the integers, multiples of 1/`SCALE`, stand for."""
    blocks = (
        values_P[start : start + _BLOCK].astype(np.float64) for start in range(0, values_P.size, _BLOCK)
    )
    return math.sqrt(sum(float(np.dot(values_B, values_B)) for values_B in blocks)) / SCALE


def refuse_overflow(*, largest_value: float, total_weight: int) -> None:
    """Return only if a sum with these bounds fits into 64 bits.

    Raises:
        ConfigError: it might not.
    """
    if not largest_value * SCALE * total_weight < 2.0**63:
        raise ConfigError(
            f"update_clip {largest_value:g} x {total_weight} patients would overflow the 64-bit sum; "
            f"update_clip must stay below {2.0**31 / total_weight:.3g}"
        )


def to_bytes(values_P: NDArray[np.int64]) -> Bytes:
    """Return the little-endian bytes that travel."""
    return array_bytes(values_P, "<i8")


def from_bytes(raw: Bytes, *, size: int) -> NDArray[np.int64]:
    """Return the `size` integers in `raw`, as a view of it if they lie there as compiled loops like it.

    Raises:
        MalformedMessageError: `raw` has another length.
    """
    if len(raw) != size * BYTES_PER_VALUE:
        raise MalformedMessageError(
            f"an update must have {size * BYTES_PER_VALUE} bytes for {size} parameters, got {len(raw)}"
        )
    return np.require(np.frombuffer(raw, dtype="<i8"), dtype=np.int64, requirements="A")
