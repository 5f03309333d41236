"""Privacy noise drawn on a GPU, from a fresh key of the operating system for each draw (privacy rule 1).

It is what `SystemRandomness` draws on a processor, by ChaCha20 instead of AES; both are keyed with 256 bits.
"""

# Shape letters: N draws, R = 2 N random words.

import math
import os

import torch

from fed_common.chacha import keystream

# Draws per block: more would take memory, fewer leave a GPU idle.
_BLOCK = 1 << 22


def gaussian_on(device: torch.device, size: int, *, std: float) -> torch.Tensor:
    """Return `size` independent normal draws of mean 0, float64, on `device`.

    Each is half the sum of four Box-Muller draws; see `SystemRandomness.gaussian`.
    """
    key = os.urandom(32)
    drawn_N = torch.empty(size, dtype=torch.float64, device=device)
    used = 0
    for start in range(0, size, _BLOCK):
        block_N = drawn_N[start : start + _BLOCK]
        num_blocks = 2 * -(-block_N.numel() // 4)  # of 64 bytes, of which a draw takes 32
        words = keystream(key, num_blocks, first_block=used, device=device).view(torch.int64).flatten()
        radii_R, angles_R = words[: 4 * block_N.numel()].chunk(2)
        block_N.copy_(sum_of_four_normals(radii_R, angles_R).mul_(std / 2))
        used += num_blocks
    return drawn_N


def sum_of_four_normals(radii_R: torch.Tensor, angles_R: torch.Tensor) -> torch.Tensor:
    """Return sums (N) of four standard normals, each from two random radii and two random angles, int64.

    See `fed_common.normal_kernel`, which does the same on a processor.
    """
    lengths_R = ((_high_bits(radii_R) + 1) * 2.0**-53).log_().mul_(-2).sqrt_()
    angles_R = (_high_bits(angles_R) - 2.0**52).mul_(math.pi * 2.0**-53)
    first_N, second_N = angles_R.sin_().mul_(lengths_R).chunk(2)
    return (first_N + second_N).mul_(math.sqrt(2))


def _high_bits(words_R: torch.Tensor) -> torch.Tensor:
    """Return the upper 53 bits as numbers."""
    return ((words_R >> 11) & (1 << 53) - 1).double()
