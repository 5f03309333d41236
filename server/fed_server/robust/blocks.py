"""Goes through long vectors a block at a time, so that what is made of them on the way stays in the cache."""

from collections.abc import Iterator

# Of 8 bytes each, a quarter of the usual second cache.
BLOCK = 16_384


def blocks(size: int) -> Iterator[slice]:
    """Yield slices that cover `size` places in order."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))
