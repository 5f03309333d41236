"""Which pairs of lines a sorting network compares, and which of them decide the lines that are asked for."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray


def comparators(lines: int, wanted: Collection[int]) -> NDArray[np.int64]:
    """Return the pairs (lower, upper), in order, that put right the `wanted` places of so many lines.

    What no wanted place depends on is left out: the median of 20 lines needs 81 comparators, a whole sort 97.
    """
    live = set(wanted)
    kept = []
    for lower, upper in reversed(list(_merge_exchange(lines))):
        if lower in live or upper in live:
            live |= {lower, upper}
            kept.append((lower, upper))
    return np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)


def _merge_exchange(lines: int) -> Iterator[tuple[int, int]]:
    """Yield the comparators of Batcher's network.

    Source: Knuth, "The Art of Computer Programming", volume 3 (1998), algorithm 5.2.2 M.
    """
    largest = 1 << max(lines - 1, 0).bit_length() >> 1
    p = largest
    while p > 0:
        q, r, d = largest, 0, p
        while True:
            yield from ((place, place + d) for place in range(lines - d) if place & p == r)
            if q == p:
                break
            q, r, d = q // 2, p, q - p
        p //= 2
