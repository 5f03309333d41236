"""Privacy noise has the promised distribution, and no seed, fork or second instance can repeat it."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from scipy import stats

from fed_common.normal_kernel import add_normals
from fed_common.randomness import SystemRandomness, grid_spacing, keystream

# Chance of a false alarm of each statistical test below.
ALARM = 1e-7
KINDS = pytest.mark.parametrize("kind", [np.float32, np.float64])


def noise(size: int, *, std: float = 1.0, kind: DTypeLike = np.float64) -> NDArray[np.floating]:
    """Return what is added to zeros."""
    values_N = np.zeros(size, dtype=kind)
    SystemRandomness().add_noise(values_N, std=std)
    return values_N


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


@KINDS
def test_draws_are_normal(kind: DTypeLike) -> None:
    drawn = noise(1_000_000, std=2.5, kind=kind)

    assert stats.kstest(drawn / 2.5, "norm").pvalue > ALARM


@KINDS
@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 65_535, 65_536, 65_537, 200_001])
def test_every_value_gets_noise_and_none_comes_again(size: int, kind: DTypeLike) -> None:
    beside_the_grid = grid_spacing(1.0) / 3
    values_N = np.full(size + 8, beside_the_grid, dtype=kind)

    SystemRandomness().add_noise(values_N[4 : size + 4], std=1.0)

    around, noised_N = np.delete(values_N, slice(4, size + 4)), values_N[4 : size + 4]
    assert np.array_equal(around, np.full(8, beside_the_grid, dtype=kind))
    assert not np.mod(noised_N, grid_spacing(1.0)).any()
    # Two are on the same place of the grid once in two million; four in a row never are.
    if size >= 4:
        windows = np.lib.stride_tricks.sliding_window_view(noised_N, 4)
        assert len(np.unique(windows, axis=0)) == len(windows)


def test_draws_have_the_moments_of_a_normal() -> None:
    count = 1_000_000
    drawn = noise(count)

    # Standard errors of mean, variance, skewness and kurtosis of a normal sample; 6 of them is 2e-9.
    assert abs(drawn.mean()) < 6 / count**0.5
    assert abs(drawn.var() - 1) < 6 * (2 / count) ** 0.5
    assert abs(stats.skew(drawn)) < 6 * (6 / count) ** 0.5
    assert abs(stats.kurtosis(drawn)) < 6 * (24 / count) ** 0.5


def test_draws_are_independent_of_their_neighbours() -> None:
    count = 1_000_000
    drawn = noise(count)

    # The four that share their random words are 16384 apart, and all these blocks are 65536 long.
    for lag in (1, 2, 8192, 16384, 32768, 49152, 65536):
        assert abs(np.mean(drawn[lag:] * drawn[:-lag])) < 6 / (count - lag) ** 0.5


def test_four_draws_of_the_same_words_are_independent() -> None:
    blocks_BFN = noise(8 * 65536).reshape(8, 4, 16384)
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

    noised_in_float32_N = np.random.default_rng(0).normal(size=40_000).astype(np.float32)
    exact_N = noised_in_float32_N.astype(np.float64)
    noised_N = exact_N.copy()
    add_normals(words_FN.ravel(), noised_N, std=1.5, spacing=2.0**-45)
    add_normals(words_FN.ravel(), noised_in_float32_N, std=1.5, spacing=2.0**-45)

    np.testing.assert_allclose(noised_N, exact_N + 1.5 * mixed_FN.ravel(), atol=1e-13)
    np.testing.assert_allclose(noised_in_float32_N, noised_N, rtol=1e-7)


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
    assert_others(noise(100), noise(100))


def test_seeds_of_other_generators_change_nothing() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(42)
        np.random.seed(42)
        draws.append(noise(100))

    assert_others(draws[0], draws[1])


def test_two_processes_that_seed_all_they_can_draw_uncorrelated_noise() -> None:
    drawing = (
        "import random, sys, numpy, torch; from fed_common.randomness import SystemRandomness\n"
        "random.seed(42); numpy.random.seed(42); torch.manual_seed(42); drawn = numpy.zeros(20_000)\n"
        "SystemRandomness().add_noise(drawn, std=1.0); sys.stdout.buffer.write(drawn.tobytes())"
    )
    drawn = [
        np.frombuffer(subprocess.run([sys.executable, "-c", drawing], capture_output=True, check=True).stdout)
        for _ in range(2)
    ]

    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 6 / 20_000**0.5


def test_a_forked_process_draws_other_numbers() -> None:
    randomness, drawn = SystemRandomness(), np.zeros(100)
    randomness.add_noise(drawn, std=1.0)
    reader, writer = os.pipe()
    child = os.fork()
    randomness.add_noise(drawn, std=1.0)
    if child == 0:
        os.write(writer, drawn.tobytes())
        os._exit(0)
    of_child = np.frombuffer(os.read(reader, 800))
    os.waitpid(child, 0)

    assert of_child.size == 100
    assert_others(of_child, drawn)


def assert_others(some_N: NDArray[np.floating], others_N: NDArray[np.floating]) -> None:
    """Two draws are on the same place of the grid once in two million: five of ten thousand never are."""
    assert np.isin(some_N, others_N).sum() < 5


@KINDS
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e3, 1e6])
def test_noised_values_lie_on_a_grid_that_depends_on_the_noise_alone(scale: float, kind: DTypeLike) -> None:
    spacing = 2.0**-19  # 1.6 is in [1, 2), whose frexp exponent is 1
    values_N = (scale * np.random.default_rng(0).normal(size=1001)).astype(kind)

    SystemRandomness().add_noise(values_N, std=1.6)

    places_N = values_N.astype(np.float64) / spacing
    assert np.array_equal(places_N, np.rint(places_N))


def test_the_grid_moves_a_value_by_a_millionth_of_the_noise_at_most() -> None:
    words_N = np.frombuffer(os.urandom(8 * 1000), dtype=np.uint64)
    on_grid_N, finer_N = np.zeros(1000), np.zeros(1000)

    add_normals(words_N, on_grid_N, std=3.0, spacing=grid_spacing(3.0))
    add_normals(words_N, finer_N, std=3.0, spacing=2.0**-40)

    assert 0 < np.abs(on_grid_N - finer_N).max() <= 3.0e-6
