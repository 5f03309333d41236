"""Integers modulo 2^32 or 2^64, in which masks cancel to the last bit and a bounded sum can't wrap."""

# Shape letters: P parameters of the flattened model.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fed_common import fixedpoint
from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.plans import SiteTerms, TrainTerms

RingVector = NDArray[np.uint32 | np.uint64]

# A step of the grid is at most this part of the noise in any site's update: it adds 2e-5 to its variance.
_STEPS_PER_NOISE = 64
# Vector, keystream and zeros of one block stay in the processor's cache.
_BLOCK_BYTES = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Ring:
    """How an update is written as integers: multiples of 2^-`fraction_bits`, modulo 2^`bits`."""

    bits: Literal[32, 64]
    fraction_bits: int

    def __post_init__(self) -> None:
        if not 0 <= self.fraction_bits <= 32:
            raise ConfigError(f"fraction_bits must be in [0, 32], got {self.fraction_bits}")

    @property
    def scale(self) -> float:
        """Return how many steps of the grid make 1."""
        return 2.0**self.fraction_bits

    @property
    def dtype(self) -> np.dtype[np.uint32 | np.uint64]:
        """Return the integers as they travel: little-endian, without sign."""
        return np.dtype("<u4") if self.bits == 32 else np.dtype("<u8")

    def bound(self, *, clip: float, total_weight: int) -> float:
        """Return what no entry of a sum of clipped, rounded updates times their weights can exceed."""
        return (clip * self.scale + 1) * total_weight

    def holds(self, *, clip: float, total_weight: int) -> bool:
        """Tell whether such a sum can't wrap."""
        return self.bound(clip=clip, total_weight=total_weight) < 2.0 ** (self.bits - 1)

    def weighted(self, fixed_P: NDArray[np.int64], weight: int) -> RingVector:
        """Return the update times its public weight, as elements of the ring."""
        if self.bits == 64:
            return fixed_P.view("<u8") * np.uint64(weight)
        return fixed_P.view("<u4")[::2] * np.uint32(weight)  # the lower halves of little-endian numbers

    def from_bytes(self, raw: bytes, *, size: int) -> RingVector:
        """Return the `size` elements in `raw`.

        Raises:
            MalformedMessageError: `raw` has another length.
        """
        if len(raw) != size * self.dtype.itemsize:
            raise MalformedMessageError(
                f"a masked update must have {size * self.dtype.itemsize} bytes for {size} parameters, "
                f"got {len(raw)}"
            )
        return np.frombuffer(raw, dtype=self.dtype)

    def signed(self, vector_P: RingVector) -> NDArray[np.int32 | np.int64]:
        """Return the elements as numbers around zero, without a copy."""
        return vector_P.view("<i4" if self.bits == 32 else "<i8")


def smallest_ring(terms: TrainTerms, cohort: Sequence[SiteTerms]) -> Ring:
    """Return 32 bits where the sum fits on a grid far finer than any site's noise, else 64.

    Raises:
        ConfigError: clip and weights could overflow 64 bits.
    """
    total_weight = sum(site.patients for site in cohort)
    room = (2.0**31 / total_weight - 1) / terms.update_clip
    fraction_bits = min(32, math.ceil(math.log2(room)) - 1) if room > 1 else -1
    if fraction_bits >= 0 and 2.0**-fraction_bits * _STEPS_PER_NOISE <= _least_noise(terms, cohort):
        return Ring(bits=32, fraction_bits=fraction_bits)
    fixedpoint.refuse_overflow(largest_value=terms.update_clip * 1.01, total_weight=total_weight)
    return Ring(bits=64, fraction_bits=32)


def apply_masks(vector_P: RingVector, *, added: Sequence[bytes], removed: Sequence[bytes]) -> None:
    """Add the keystreams of `added` to the vector, and take those of `removed` away, in place.

    A keystream is AES-256 in counter mode from zero (NIST SP 800-38A, section 6.5), so a key is used once.
    """
    streams = [
        (Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor(), operation)
        for keys, operation in ((added, np.add), (removed, np.subtract))
        for key in keys
    ]
    zeros = memoryview(bytes(_BLOCK_BYTES))
    buffer = bytearray(_BLOCK_BYTES + 15)  # `update_into` asks for a block's rest more than it writes
    per_block = _BLOCK_BYTES // vector_P.itemsize
    for start in range(0, vector_P.size, per_block):
        block = vector_P[start : start + per_block]
        mask = np.frombuffer(buffer, dtype=vector_P.dtype, count=block.size)
        for stream, operation in streams:
            stream.update_into(zeros[: block.nbytes], buffer)
            operation(block, mask, out=block)


def _least_noise(terms: TrainTerms, cohort: Sequence[SiteTerms]) -> float:
    """Return the standard deviation that one step's noise has in the update of the largest site."""
    dp, largest = terms.dp, max(site.patients for site in cohort)
    return terms.learning_rate * dp.noise_multiplier * dp.clip_norm / (dp.sampling_rate * largest)
