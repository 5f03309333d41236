"""RFC 6962's Merkle tree: one digest for a log, and short proofs of what is in it and that it only grew.

Leaves are given by their hashes (`leaf_hash`). Source of the trees: RFC 6962, section 2.1; of the checks of
proofs: RFC 9162, sections 2.1.3.2 and 2.1.4.2, which has the same trees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256

from fed_common.errors import TrustError

Hashes = tuple[bytes, ...]


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; its prefix keeps it from being taken for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """All that a growing tree needs to remember: the roots of its whole subtrees, the largest first."""

    size: int = 0
    peaks: Hashes = ()

    def and_then(self, leaf: bytes) -> "Frontier":
        """Return the tree with one more leaf."""
        peaks, node = list(self.peaks), leaf
        for _ in range(_trailing_ones(self.size)):
            node = node_hash(peaks.pop(), node)
        return Frontier(self.size + 1, (*peaks, node))

    @property
    def root(self) -> bytes:
        """Return the tree's hash."""
        if not self.peaks:
            return sha256(b"").digest()
        return reduce(lambda right, left: node_hash(left, right), reversed(self.peaks))


EMPTY = Frontier()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the hash of the tree of these leaves."""
    return reduce(Frontier.and_then, leaves, EMPTY).root


def prove_inclusion(leaves: Sequence[bytes], index: int) -> Hashes:
    """Return what shows, with the leaf at `index` and the root, that the leaf is there."""
    if len(leaves) <= 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*prove_inclusion(leaves[:split], index), root(leaves[split:]))
    return (*prove_inclusion(leaves[split:], index - split), root(leaves[:split]))


def verify_inclusion(leaf: bytes, proof: Hashes, *, index: int, size: int, root: bytes) -> None:
    """Return only if the leaf is at `index` of the tree of `size` leaves with that root.

    Raises:
        TrustError: the proof doesn't show it.
    """
    if not 0 <= index < size:
        raise TrustError(f"a tree of {size} has no leaf {index}")
    place, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise TrustError("the proof of inclusion is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last or node != root:
        raise TrustError(f"leaf {index} is not in the tree of {size} with that root")


def prove_consistency(leaves: Sequence[bytes], first: int) -> Hashes:
    """Return what shows that the tree of the first `first` leaves grew into that of all."""
    return _consistency(leaves, first, known=True) if 0 < first < len(leaves) else ()


def verify_consistency(
    proof: Hashes, *, first: int, first_root: bytes, second: int, second_root: bytes
) -> None:
    """Return only if the tree of `second` leaves begins with the tree of `first` leaves.

    Raises:
        TrustError: the proof doesn't show it.
    """
    if first == second and not proof and first_root == second_root:
        return
    if first == 0 and not proof and first_root == sha256(b"").digest():
        return
    if not 0 < first < second or not proof:
        raise TrustError(f"no proof that {first} leaves grew into {second}")
    path = proof if first & (first - 1) else (first_root, *proof)
    skip = _trailing_ones(first - 1)
    place, last = (first - 1) >> skip, (second - 1) >> skip
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise TrustError("the proof of consistency is too long")
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last or (old, new) != (first_root, second_root):
        raise TrustError(f"the tree of {second} leaves doesn't begin with that of {first}")


def _consistency(leaves: Sequence[bytes], first: int, *, known: bool) -> Hashes:
    if first == len(leaves):
        return () if known else (root(leaves),)
    split = _split(len(leaves))
    if first <= split:
        return (*_consistency(leaves[:split], first, known=known), root(leaves[split:]))
    return (*_consistency(leaves[split:], first - split, known=False), root(leaves[:split]))


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
