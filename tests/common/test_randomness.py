"""Privacy noise has the promised distribution, and no seed, fork or second instance can repeat it."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from fed_common.normal_kernel import mixed_normals
from fed_common.randomness import SystemRandomness, keystream, snap

# Chance of a false alarm of each statistical test below.
ALARM = 1e-7


def test_keystream_is_aes_256_ctr() -> None:
    """NIST SP 800-38A, F.5.5: output blocks of CTR-AES256."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")

    blocks = keystream(key, counter, 64).hex()

    assert blocks == (
        "0bdf7df1591716335e9a8b15c860c502"
        "5a6e699d536119065433863c8f657b94"
        "1bc12c9c01610d5d0d8bd6a3378eca62"
        "2956e1c8693536b1bee99c73a31576b6"
    )


def test_gaussian_draws_are_normal() -> None:
    drawn = SystemRandomness().gaussian(1_000_000, std=2.5)

    assert stats.kstest(drawn / 2.5, "norm").pvalue > ALARM


@pytest.mark.parametrize("size", [1, 2, 32767, 32768, 32769, 100_001])
def test_gaussian_has_the_asked_size_without_repeats(size: int) -> None:
    assert len(np.unique(SystemRandomness().gaussian(size, std=1.0))) == size


def test_gaussian_has_the_moments_of_a_normal() -> None:
    count = 1_000_000
    drawn = SystemRandomness().gaussian(count, std=1.0)

    # Standard errors of mean, variance, skewness and kurtosis of a normal sample; 6 of them is 2e-9.
    assert abs(drawn.mean()) < 6 / count**0.5
    assert abs(drawn.var() - 1) < 6 * (2 / count) ** 0.5
    assert abs(stats.skew(drawn)) < 6 * (6 / count) ** 0.5
    assert abs(stats.kurtosis(drawn)) < 6 * (24 / count) ** 0.5


def test_gaussian_draws_are_independent_of_their_neighbours() -> None:
    count = 1_000_000
    drawn = SystemRandomness().gaussian(count, std=1.0)

    # The four of 8192 that share their random words are 8192 apart, and all these blocks are 32768 long.
    for lag in (1, 2, 4096, 8192, 16384, 24576, 32768):
        assert abs(np.mean(drawn[lag:] * drawn[:-lag])) < 6 / (count - lag) ** 0.5


def test_four_draws_of_the_same_words_are_independent() -> None:
    blocks_BFN = SystemRandomness().gaussian(16 * 32768, std=1.0).reshape(16, 4, 8192)
    draws_FN = blocks_BFN.swapaxes(0, 1).reshape(4, -1)

    # Uncorrelated isn't independent: squares would betray what four draws have in common, their radii.
    for one_N, other_N in itertools.combinations(np.concatenate([draws_FN, draws_FN**2]), 2):
        if not np.array_equal(one_N**2, other_N):
            assert stats.pearsonr(one_N, other_N).pvalue > ALARM
    signs_N = (draws_FN > 0).T @ [1, 2, 4, 8]
    assert stats.chisquare(np.bincount(signs_N, minlength=16)).pvalue > ALARM
    # The squared length of four normals has their chi-square distribution only if they are independent.
    assert stats.kstest(np.square(draws_FN).sum(axis=0), "chi2", args=(4,)).pvalue > ALARM


def test_the_compiled_normals_are_mixed_of_box_and_mullers() -> None:
    words_FN = np.frombuffer(os.urandom(4 * 8 * 10_000), dtype=np.uint64).reshape(4, -1).copy()
    words_FN[:, :3] = [[0], [2**64 - 1], [2**63], [1]]  # the ends of both ranges, too
    words_FN[:, 1] = words_FN[::-1, 1]
    uniforms_FN = (words_FN >> 11).astype(np.float64) * 2.0**-53
    # The kernel's angle, from -pi to pi, is a quarter of pi more than Box and Muller's.
    radii_TN = np.sqrt(-2 * np.log(uniforms_FN[:2] + 2.0**-53))
    angles_TN = 2 * np.pi * (uniforms_FN[2:] - 0.5) - np.pi / 4
    cosines_TN, sines_TN = radii_TN * np.cos(angles_TN), radii_TN * np.sin(angles_TN)
    normals_FN = np.stack([cosines_TN[0], sines_TN[0], cosines_TN[1], sines_TN[1]])
    mixed_FN = 0.5 * np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) @ normals_FN

    draws_N = np.empty(40_000)
    mixed_normals(words_FN[:2].ravel(), words_FN[2:].ravel(), 1.5, draws_N)

    np.testing.assert_allclose(draws_N, 1.5 * mixed_FN.ravel(), atol=1e-13)


@pytest.mark.parametrize("rate", [0.01, 0.25, 1.0])
def test_each_member_is_in_at_the_asked_rate(rate: float) -> None:
    taken = int(SystemRandomness().poisson_mask(200_000, rate=rate).sum())

    assert stats.binomtest(taken, 200_000, rate).pvalue > ALARM


def test_choose_gives_each_subset_the_same_chance() -> None:
    randomness = SystemRandomness()
    subsets = [frozenset(randomness.choose(4, most=2).tolist()) for _ in range(6000)]

    counts = [subsets.count(subset) for subset in set(subsets)]

    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > ALARM


@pytest.mark.parametrize(("count", "most"), [(0, 3), (2, 3), (3, 3), (5, 3)])
def test_choose_never_repeats_an_index(count: int, most: int) -> None:
    chosen = SystemRandomness().choose(count, most=most).tolist()

    assert len(set(chosen)) == len(chosen) == min(count, most)
    assert set(chosen) <= set(range(count))


def test_two_instances_never_agree() -> None:
    first, second = SystemRandomness().gaussian(100, std=1.0), SystemRandomness().gaussian(100, std=1.0)

    assert not np.isin(first, second).any()


def test_seeds_of_other_generators_change_nothing() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(42)
        np.random.seed(42)
        draws.append(SystemRandomness().gaussian(100, std=1.0))

    assert not np.isin(draws[0], draws[1]).any()


def test_two_processes_that_seed_all_they_can_draw_uncorrelated_noise() -> None:
    drawing = (
        "import random, sys, numpy, torch; from fed_common.randomness import SystemRandomness\n"
        "random.seed(42); numpy.random.seed(42); torch.manual_seed(42)\n"
        "sys.stdout.buffer.write(SystemRandomness().gaussian(20_000, std=1.0).tobytes())"
    )
    drawn = [
        np.frombuffer(subprocess.run([sys.executable, "-c", drawing], capture_output=True, check=True).stdout)
        for _ in range(2)
    ]

    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 6 / 20_000**0.5


def test_a_forked_process_draws_other_numbers() -> None:
    randomness = SystemRandomness()
    randomness.gaussian(10, std=1.0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, randomness.gaussian(100, std=1.0).tobytes())
        os._exit(0)
    of_parent = randomness.gaussian(100, std=1.0)
    of_child = np.frombuffer(os.read(reader, 800))
    os.waitpid(child, 0)

    assert of_child.size == 100
    assert not np.isin(of_child, of_parent).any()


def test_snapped_values_lie_on_a_grid_that_depends_on_the_noise_alone() -> None:
    spacing = 2.0**-19  # 1.6 is in [1, 2), whose frexp exponent is 1

    for scale in (1e-9, 1.0, 1e3):
        snapped = snap(SystemRandomness().gaussian(1000, std=1.6) * scale, std=1.6) / spacing
        assert np.array_equal(snapped, np.rint(snapped))


def test_snapping_moves_a_value_by_a_millionth_of_the_noise_at_most() -> None:
    values = SystemRandomness().gaussian(1000, std=3.0)

    assert np.abs(snap(values, std=3.0) - values).max() <= 3.0e-6
