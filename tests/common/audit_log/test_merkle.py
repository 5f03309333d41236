"""The log's tree is that of Certificate Transparency, and a proof shows what it says and nothing else."""

from itertools import combinations
from random import Random

import pytest

from fed_common.audit_log.merkle import (
    Frontier,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root,
    verify_consistency,
    verify_inclusion,
)
from fed_common.errors import TrustError

# The test leaves of Certificate Transparency (google/certificate-transparency, merkletree tests), and the
# roots of the trees of the first 0 to 8 of them.
LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        bytes(range(0x60, 0x70)).hex(),
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def test_a_tree_that_grows_needs_only_its_frontier() -> None:
    tree = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert (tree.size, tree.root.hex()) == (size, ROOTS[size])
        tree = tree.and_then(leaf)
    assert len(tree.peaks) == 1


def test_a_proof_of_inclusion_of_the_reference_is_ours() -> None:
    # Certificate Transparency's path of leaf 1 among 8 (its 1-based 2).
    assert prove_inclusion(LEAVES, 1)[0] == LEAVES[0]
    assert prove_inclusion(LEAVES, 1)[1].hex() == (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    )


def test_every_leaf_is_shown_to_be_at_its_place_and_at_no_other() -> None:
    for size in range(1, 9):
        tree = root(LEAVES[:size])
        for index in range(size):
            proof = prove_inclusion(LEAVES[:size], index)
            verify_inclusion(LEAVES[index], proof, index=index, size=size, root=tree)
            for other in {*range(size + 1)} - {index}:
                with pytest.raises(TrustError):
                    verify_inclusion(LEAVES[index], proof, index=other, size=size, root=tree)


def test_every_tree_is_shown_to_begin_with_every_smaller_one() -> None:
    for first in range(9):
        for second in range(first, 9):
            verify_consistency(
                prove_consistency(LEAVES[:second], first),
                first=first,
                first_root=root(LEAVES[:first]),
                second=second,
                second_root=root(LEAVES[:second]),
            )


def test_no_proof_fits_a_log_of_which_one_leaf_was_changed() -> None:
    for first, second in combinations(range(1, 9), 2):
        rewritten = [leaf_hash(b"rewritten"), *LEAVES[1:second]]
        for proof in (prove_consistency(LEAVES[:second], first), prove_consistency(rewritten, first)):
            with pytest.raises(TrustError):
                verify_consistency(
                    proof,
                    first=first,
                    first_root=root(LEAVES[:first]),
                    second=second,
                    second_root=root(rewritten),
                )


def test_a_bent_proof_shows_nothing() -> None:
    random = Random(0)
    for _ in range(200):
        first, second = sorted(random.sample(range(1, 9), 2))
        proof = [*prove_consistency(LEAVES[:second], first)]
        match random.randrange(3):
            case 0:
                proof[random.randrange(len(proof))] = random.randbytes(32)
            case 1:
                proof.append(random.randbytes(32))
            case 2:
                proof.pop()
        with pytest.raises(TrustError):
            verify_consistency(
                tuple(proof),
                first=first,
                first_root=root(LEAVES[:first]),
                second=second,
                second_root=root(LEAVES[:second]),
            )
