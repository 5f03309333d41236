"""What stands beside an answer: a vector of numbers, written as the terms of its plan say."""

import os

import numpy as np
from numpy.typing import NDArray

from fed_common import eight_bits, fixedpoint
from fed_common.names import Bytes
from fed_common.plans import Terms, TrainTerms


def encode(values: NDArray[np.float64], terms: Terms) -> Bytes:
    """Return the bytes that travel unmasked; what they tell of patients was clipped and noised before.

    Rounding to 8 bits draws from a key of the operating system's: it hides nothing, but who could choose or
    foresee the draws could bend an honest site's update by them.

    Raises:
        MalformedMessageError: a value isn't finite or is too large to be encoded.
    """
    if isinstance(terms, TrainTerms) and terms.encoding == "8-bit":
        return eight_bits.encode(values, longest=terms.update_clip, key=os.urandom(32))
    fixed = fixedpoint.to_fixed(values)
    fixed.flags.writeable = False
    return fixedpoint.to_bytes(fixed)


def decode(raw: Bytes, terms: Terms, *, size: int) -> NDArray[np.int64]:
    """Return the `size` values in `raw` in fixed point, whatever they came in.

    Raises:
        MalformedMessageError: `raw` has another length, or says what `encode` never says.
    """
    if isinstance(terms, TrainTerms) and terms.encoding == "8-bit":
        return eight_bits.decode(raw, size=size)
    return fixedpoint.from_bytes(raw, size=size)
