"""Independent, repeatable streams of chance for phantoms, partitions and other play."""

from hashlib import sha256

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator that belongs to `seed` and `purpose`; other purposes give unrelated streams.

    It must never serve privacy: whoever knows the seed knows every number. Privacy noise, privacy sampling
    and keys come from the operating system's CSPRNG, which can't be seeded.
    """
    return np.random.default_rng(int.from_bytes(sha256(f"{seed}/{purpose}".encode()).digest()))
