"""Morlet wavelets and their Gaussian, as spectra: what a scattering transform filters pictures with.

Sources: Bruna and Mallat, "Invariant Scattering Convolution Networks" (2013), section 2.1; the constants are
those of Oyallon and Mallat, "Deep Roto-Translation Scattering for Object Classification" (2015).
"""

# Shape letters: M x M samples of a periodic picture, A angles.

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

_WIDTH = 0.8  # of the Gaussian envelope at scale 0, in pixels
_FREQUENCY = 3 * math.pi / 4  # of the wave at scale 0, in radians per pixel

# An envelope reaches so many periods beyond the picture before it is negligible.
_PERIODS = range(-2, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterBank:
    """Spectra for periodic pictures of one side: wavelets by scale, finest first, and the low-pass."""

    wavelets_AMM: tuple[torch.Tensor, ...]
    low_pass_MM: torch.Tensor


@lru_cache(maxsize=8)
def filter_bank(side: int, *, scales: int, angles: int) -> FilterBank:
    """Return real spectra: all filters are symmetric around the origin, up to conjugation."""
    turns = [math.pi * angle / angles for angle in range(angles)]
    spectra = [
        np.stack([_morlet(side, scale, turn, 4 / angles) for turn in turns]) for scale in range(scales)
    ]
    envelope_MM = _gabor(side, _WIDTH * 2 ** (scales - 1), turn=0, frequency=0, slant=1)
    return FilterBank(
        wavelets_AMM=tuple(_spectrum(wavelets) for wavelets in spectra), low_pass_MM=_spectrum(envelope_MM)
    )


def _spectrum(filters: NDArray[np.complex128]) -> torch.Tensor:
    return torch.from_numpy(np.fft.fft2(filters).real.astype(np.float32))


def _morlet(side: int, scale: int, turn: float, slant: float) -> NDArray[np.complex128]:
    """Return a wave in an envelope, less as much of the envelope as makes its mean zero."""
    width = _WIDTH * 2**scale
    wave_MM = _gabor(side, width, turn=turn, frequency=_FREQUENCY / 2**scale, slant=slant)
    envelope_MM = _gabor(side, width, turn=turn, frequency=0, slant=slant)
    morlet_MM: NDArray[np.complex128] = wave_MM - wave_MM.sum() / envelope_MM.sum() * envelope_MM
    return morlet_MM


def _gabor(side: int, width: float, *, turn: float, frequency: float, slant: float) -> NDArray[np.complex128]:
    """Return exp(-(u^2 + slant^2 v^2) / (2 width^2) + i frequency u), normed, along axes turned by `turn`."""
    total_MM = np.zeros((side, side), dtype=np.complex128)
    steps_M = np.arange(side)
    for down in _PERIODS:
        for right in _PERIODS:
            rows_MM, columns_MM = np.meshgrid(steps_M + down * side, steps_M + right * side, indexing="ij")
            u_MM = rows_MM * math.cos(turn) + columns_MM * math.sin(turn)
            v_MM = columns_MM * math.cos(turn) - rows_MM * math.sin(turn)
            decay_MM = (u_MM**2 + slant**2 * v_MM**2) / (2 * width**2)
            total_MM += np.exp(-decay_MM + 1j * frequency * u_MM)
    return total_MM * slant / (2 * math.pi * width**2)
