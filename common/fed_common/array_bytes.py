"""An array as the bytes that are hashed and sent, which nobody can change then, whoever holds the array."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_common.names import Bytes


def array_bytes(values: NDArray[Any], dtype: str) -> Bytes:
    """Return the bytes of the values as `dtype`: a view of an array that can't be written to, or a copy."""
    stored = np.ascontiguousarray(values, dtype=dtype)
    # An empty array has no view as bytes.
    return stored.tobytes() if stored.flags.writeable or not stored.size else stored.data.cast("B")
