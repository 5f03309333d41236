"""Privacy noise drawn on a GPU, from a fresh key of the operating system for each draw (privacy rule 1).

It is what `SystemRandomness` draws on a processor, by ChaCha20 instead of AES; both are keyed with 256 bits.
"""

# Shape letters: N draws, R = N / 2 random words.

import math
import os

import torch

from fed_common.chacha import keystream

# Draws per block, whole blocks of keystream: more would take memory, fewer leave a GPU idle.
_BLOCK = 1 << 22
# Of 64 bits, in 64 bytes of ChaCha20's keystream.
_WORDS_PER_BLOCK = 8


def gaussian_on(device: torch.device, size: int, *, std: float) -> torch.Tensor:
    """Return `size` independent normal draws of mean 0, float64, on `device`.

    Each is half a sum of four Box-Muller draws; see `SystemRandomness.add_noise`.
    """
    key = os.urandom(32)
    num_blocks = -(-size // _WORDS_PER_BLOCK)
    drawn_N = torch.empty(num_blocks * _WORDS_PER_BLOCK, dtype=torch.float64, device=device)
    for start in range(0, drawn_N.numel(), _BLOCK):
        block_N = drawn_N[start : start + _BLOCK]
        first, count = start // _WORDS_PER_BLOCK, block_N.numel() // _WORDS_PER_BLOCK
        words = keystream(key, count, first_block=first, device=device).flatten().view(torch.int64)
        radii_R, angles_R = words.chunk(2)
        block_N.copy_(mixed_normals(radii_R, angles_R).mul_(std))
    return drawn_N[:size]


def mixed_normals(radii_R: torch.Tensor, angles_R: torch.Tensor) -> torch.Tensor:
    """Return standard normal draws (N), each half a sum of four, from random radii and angles, int64.

    See `fed_common.normal_kernel`, which does the same on a processor.
    """
    lengths_R = ((_high_bits(radii_R) + 1) * 2.0**-53).log_().neg_().sqrt_()
    angles_R = (_high_bits(angles_R) - 2.0**52).mul_(math.pi * 2.0**-52)
    draws = []
    for one_N, other_N in ((angles_R.sin() * lengths_R).chunk(2), angles_R.cos_().mul_(lengths_R).chunk(2)):
        draws += [one_N + other_N, one_N - other_N]
    return torch.cat(draws)


def _high_bits(words_R: torch.Tensor) -> torch.Tensor:
    """Return the upper 53 bits as numbers."""
    return ((words_R >> 11) & (1 << 53) - 1).double()
