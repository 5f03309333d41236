"""ChaCha20's keystream in the integer arithmetic of tensors: random words where a GPU needs them.

Processors have instructions for AES; elsewhere it is tables, and slow. ChaCha20 is additions, exclusive ors
and rotations, of as many blocks at once as there are.

Source: RFC 8439, section 2.3.
"""

# Shape letters: B blocks of 16 words each; a row is four words of every block (4, B).

import numpy as np
import torch

_CONSTANTS = np.frombuffer(b"expand 32-byte k", dtype="<i4")
_ROUNDS = 20


def keystream(key: bytes, num_blocks: int, *, first_block: int = 0, device: torch.device) -> torch.Tensor:
    """Return the words (16, B) of the blocks from `first_block` on, int32, for the nonce of zeros."""
    words = np.concatenate([_CONSTANTS, np.frombuffer(key, dtype="<i4")])
    start = torch.zeros(16, num_blocks, dtype=torch.int32, device=device)
    start[:12] = torch.from_numpy(words).to(device)[:, None]
    start[12] = torch.arange(first_block, first_block + num_blocks, dtype=torch.int32, device=device)
    a, b, c, d = start.clone().view(4, 4, -1).unbind()
    for _ in range(_ROUNDS // 2):
        _quarter_rounds(a, b, c, d)
        # A diagonal is a column once the rows are turned against each other.
        b, c, d = b.roll(-1, 0), c.roll(-2, 0), d.roll(-3, 0)
        _quarter_rounds(a, b, c, d)
        b, c, d = b.roll(1, 0), c.roll(2, 0), d.roll(3, 0)
    return torch.cat([a, b, c, d]).add_(start)


def _quarter_rounds(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> None:
    """Take the four columns' quarter rounds (section 2.1) in place; int32 wraps as uint32 does."""
    for row, added, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        row.add_(added)
        turned.bitwise_xor_(row)
        low = (turned >> (32 - bits)).bitwise_and_((1 << bits) - 1)  # the shift brings the sign with it
        turned.bitwise_left_shift_(bits).bitwise_or_(low)
