"""Six words for a fingerprint, because people who read to each other skip hexadecimal digits.

Bytes at even places have words of two syllables, those at odd places of three: a word that was dropped or
swapped is heard. Six words are 48 bits.

Source: the PGP word list (Juola and Zimmermann, "Whole-Word Phonetic Distances and the PGPfone
Alphabet", 1996).
"""

from functools import cache
from importlib.resources import files

from fed_common.names import Digest

NUM_WORDS = 6


def six_words(fingerprint: Digest) -> str:
    """Return the words for the first six bytes of a fingerprint."""
    first = bytes.fromhex(fingerprint)[:NUM_WORDS]
    return " ".join(_pairs()[byte][place % 2] for place, byte in enumerate(first))


@cache
def _pairs() -> tuple[tuple[str, str], ...]:
    """Return the two words of each byte."""
    lines = files("fed_common.pki").joinpath("words.txt").read_text(encoding="ascii").splitlines()
    return tuple((even, odd) for even, odd in (line.split() for line in lines))
