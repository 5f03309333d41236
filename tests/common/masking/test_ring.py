"""A bounded sum can't wrap, its grid is finer than any noise, and masks are the standard's keystream."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes import COHORT, TRAIN

from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.masking.ring import Ring, apply_masks, smallest_ring
from fed_common.plans import SiteTerms
from fed_common.randomness import keystream

KEY, OTHER = b"\x01" * 32, b"\x02" * 32
TOTAL = sum(site.patients for site in COHORT)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("size", [1, 7, 16_384, 40_001])
def test_a_mask_is_the_aes_256_ctr_keystream_and_cancels_to_the_last_bit(bits: int, size: int) -> None:
    ring = Ring(bits=32 if bits == 32 else 64, fraction_bits=16)
    start_P = np.random.default_rng(0).integers(0, 2**32, size).astype(ring.dtype)
    vector_P = start_P.copy()
    apply_masks(vector_P, added=[KEY], removed=[])
    stream = np.frombuffer(keystream(KEY, bytes(16), vector_P.nbytes), dtype=ring.dtype)
    assert np.array_equal(vector_P, start_P + stream)
    apply_masks(vector_P, added=[OTHER], removed=[KEY])
    apply_masks(vector_P, added=[], removed=[OTHER])
    assert np.array_equal(vector_P, start_P)


def test_a_masked_vector_looks_uniform_and_another_key_gives_another_one() -> None:
    """Fault 92: chi-square of 256 byte values, three times, each below the 1 - 1e-9 quantile."""
    masked = []
    for key in (KEY, OTHER, b"\x03" * 32):
        vector_P = np.zeros(100_000, dtype="<u4")
        apply_masks(vector_P, added=[key], removed=[])
        counts = np.bincount(np.frombuffer(vector_P.tobytes(), np.uint8), minlength=256)
        expected = counts.sum() / 256
        assert ((counts - expected) ** 2 / expected).sum() < 400  # chi-square with 255 degrees of freedom
        masked.append(vector_P)
    assert not np.any(masked[0][:1000] == masked[1][:1000]) and not np.any(
        masked[1][:1000] == masked[2][:1000]
    )


def test_the_smallest_ring_is_32_bits_where_the_grid_stays_finer_than_the_noise() -> None:
    ring = smallest_ring(TRAIN, COHORT)
    assert ring.bits == 32
    assert ring.holds(clip=TRAIN.update_clip, total_weight=TOTAL)
    finer = Ring(bits=32, fraction_bits=ring.fraction_bits + 1)
    assert not finer.holds(clip=TRAIN.update_clip, total_weight=TOTAL)


def test_64_bits_are_taken_where_32_would_be_too_coarse_and_are_the_scale_of_plain_updates() -> None:
    assert smallest_ring(replace(TRAIN, update_clip=1e4), COHORT) == Ring(bits=64, fraction_bits=32)
    many = (SiteTerms(name=COHORT[0].name, patients=10**7), *COHORT[1:])
    assert smallest_ring(TRAIN, many) == Ring(bits=64, fraction_bits=32)


def test_what_overflows_64_bits_is_refused() -> None:
    many = tuple(replace(site, patients=10**7) for site in COHORT)
    with pytest.raises(ConfigError, match="overflow"):
        smallest_ring(replace(TRAIN, update_clip=1e4), many)


def test_the_bound_is_met_and_not_passed_at_the_edge_of_the_clip() -> None:
    """Fault 90: all sites send the clip in one coordinate, with the worst rounding."""
    ring = smallest_ring(TRAIN, COHORT)
    clip_fixed = np.array([round(TRAIN.update_clip * ring.scale), -round(TRAIN.update_clip * ring.scale)])
    total = np.zeros(2, dtype=ring.dtype)
    for site in COHORT:
        total += ring.weighted(clip_fixed, site.patients)
    assert ring.signed(total).tolist() == [TOTAL * int(clip_fixed[0]), TOTAL * int(clip_fixed[1])]
    # One more bit of fraction, and the same sum wraps: the check is not an idle one.
    finer = Ring(bits=32, fraction_bits=ring.fraction_bits + 1)
    wrapped = np.zeros(2, dtype=finer.dtype)
    for site in COHORT:
        wrapped += finer.weighted(2 * clip_fixed, site.patients)
    assert finer.signed(wrapped).tolist() != [2 * TOTAL * int(clip_fixed[0]), 2 * TOTAL * int(clip_fixed[1])]


@pytest.mark.parametrize("length", [0, 39, 41])
def test_a_vector_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(MalformedMessageError, match="40 bytes for 10 parameters"):
        Ring(bits=32, fraction_bits=16).from_bytes(bytes(length), size=10)
