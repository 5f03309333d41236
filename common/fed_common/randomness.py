"""Privacy noise and privacy sampling, which nobody can seed, guess or replay (privacy rule 1).

With a seeded or 32-bit generator the server can recover the seed from one update, subtract the noise and
rebuild a patient's image. So each draw takes a fresh key from the operating system and stretches it with
AES-256-CTR; nothing is kept between draws, and a forked process has nothing to repeat.
"""

import math
import os
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from fed_common.normal_kernel import add_normals

# Draws per block, four at least: their random words are small enough for the processor's cache.
_BLOCK = 1 << 16
_ZEROS = memoryview(bytes(8 * _BLOCK))


class Randomness(Protocol):
    """The draws that protect patients."""

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add an independent normal draw of mean 0 to each value, in its place, and round to a public grid.

        The values are in one run of memory, as float32 or float64. The grid (`grid_spacing`) is about a
        millionth of `std` wide: the last bits of `sum + noise` would tell about the sum; on the grid every
        value is reachable from every sum.

        Source: Mironov, "On Significance of the Least Significant Bits For Differential Privacy" (2012).
        """
        ...

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        """Return for each of `count` members whether it is in, each by its own coin of chance `rate`."""
        ...

    def choose(self, count: int, *, most: int) -> NDArray[np.int64]:
        """Return min(count, most) different indices below `count`, every subset equally likely."""
        ...


class SystemRandomness:
    """Draws that come from the operating system's generator; threads may draw from one at once."""

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add an independent normal draw of mean 0 to each value, in its place, and round to a public grid.

        Each is half a sum of four Box-Muller draws, so that the floating-point pattern of the result doesn't
        tell the draws behind it. The same four make four independent sums: on the grid, four of them hold
        half the random bits that they are made of, at most.

        Source: Holohan and Braghin, "Secure Random Sampling in Differential Privacy" (2021); Opacus'
        `secure_mode` sums four, too.
        """
        encryptor = _encryptor(os.urandom(32), bytes(16))
        stream = np.empty(
            min(max(exact_N.size, 4), _BLOCK) + 2, dtype="<u8"
        )  # `update_into` asks for 15 bytes more

        def add_to(fours_N: NDArray[np.floating]) -> None:
            encryptor.update_into(_ZEROS[: 8 * fours_N.size], stream.data.cast("B"))
            add_normals(stream[: fours_N.size], fours_N, std=std, spacing=grid_spacing(std))

        in_fours = exact_N.size // 4 * 4
        for start in range(0, in_fours, _BLOCK):
            add_to(exact_N[start : min(start + _BLOCK, in_fours)])
        rest = exact_N.size - in_fours
        if rest:
            padded_N = np.append(exact_N[in_fours:], np.zeros(4 - rest, exact_N.dtype))
            add_to(padded_N)
            exact_N[in_fours:] = padded_N[:rest]

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        """Return for each of `count` members whether it is in, each by its own coin of chance `rate`."""
        return _uniforms(count) < rate

    def choose(self, count: int, *, most: int) -> NDArray[np.int64]:
        """Return min(count, most) different indices below `count`, every subset equally likely."""
        if count <= most:  # there is one such subset; most patients have one image
            return np.arange(count)
        return np.argsort(_uniforms(count))[:most]


def grid_spacing(std: float) -> float:
    """Return the power of two that values with noise of that `std` are multiples of."""
    _, exponent = math.frexp(std)
    return math.ldexp(1.0, exponent - 20)


def keystream(key: bytes, first_counter: bytes, size: int) -> bytes:
    """Return `size` bytes of AES-CTR keystream (SP 800-38A, section 6.5)."""
    return _encryptor(key, first_counter).update(bytes(size))


def _encryptor(key: bytes, first_counter: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(first_counter)).encryptor()


def _uniforms(count: int) -> NDArray[np.float64]:
    """Return draws from [0, 1) with 53 random bits."""
    stream = keystream(os.urandom(32), bytes(16), 8 * count)
    return (np.frombuffer(stream, dtype="<u8") >> 11).astype(np.float64) * 2.0**-53
