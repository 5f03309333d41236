"""Finds the same picture twice: exactly, by digest, and nearly, by how it looks.

Copies leak: from training to test, and from one patient to another, whose privacy then isn't their own.
"""

# Shape letters: N pictures, C channels, S rows and columns, P pairs.

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset.table import Rows, numbers_of

# Looks that differ in at most 6 of 64 bits are compared in detail. Of the 499,500 pairs of 1000 chest X-rays
# (NIH), 85 get so far and none further; every copy that was saved as JPEG at quality 50, brightened or
# resized by 3/4 is found. Copies that were shifted by a pixel or cropped are not.
_LOOK_BITS = 6
_SAME_DETAIL = 0.9
_DETAIL_SIZE = 32
_ROWS_AT_ONCE = 32

# What a hospital can read through; beyond it, the count says "at least".
MAX_CANDIDATES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Exact copies: what is kept, and why the rest is not; all are row numbers."""

    kept_N: NDArray[np.int64]
    same_instance_N: NDArray[np.int64]
    same_pixels_N: NDArray[np.int64]
    of_two_patients_N: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """Pairs of rows that look alike in detail; not `complete` if there were too many to compare."""

    pairs_P2: NDArray[np.int64]
    complete: bool


def find_copies(rows_N: Rows, among_N: NDArray[np.int64]) -> Copies:
    """Return each picture of the rows `among_N` once, of one patient, whatever the order of files.

    Of the same instance, or the same pixels of one patient, the first by pixels, instance and file stays.
    Pixels of several patients stay at the first by pseudonym: at the others nobody knows whose they are.
    """
    columns = ("file", "frame", "instance", "pixels", "patient")
    order_N = among_N[np.lexsort([rows_N[column][among_N] for column in columns])]
    repeated_N = _repeats(rows_N, order_N, ("patient", "instance", "frame"))
    once_N = order_N[~repeated_N]
    same_pixels_N = _repeats(rows_N, once_N, ("patient", "pixels"))
    own_N = once_N[~same_pixels_N]
    foreign_N = _repeats(rows_N, own_N, ("pixels",)) | _repeats(rows_N, own_N, ("instance", "frame"))
    return Copies(
        kept_N=own_N[~foreign_N],
        same_instance_N=order_N[repeated_N],
        same_pixels_N=once_N[same_pixels_N],
        of_two_patients_N=own_N[foreign_N],
    )


def find_near_copies(looks_N: NDArray[np.uint64], picture: Callable[[int], NDArray[np.uint16]]) -> NearCopies:
    """Return the pairs that look alike; `picture` gives a row's picture (C, S, S)."""
    found: list[tuple[int, int]] = []
    num_candidates = 0
    detail_of: dict[int, NDArray[np.float32]] = {}
    for first, others in _candidates(looks_N):
        num_candidates += len(others)
        if num_candidates > MAX_CANDIDATES:
            return NearCopies(pairs_P2=_pairs(found), complete=False)
        own = detail(picture(first))
        for other in others.tolist():
            if other not in detail_of:
                if len(detail_of) >= 4096:  # 16 MB; what looks alike comes in runs
                    detail_of.clear()
                detail_of[other] = detail(picture(other))
            if float(np.vdot(own, detail_of[other])) >= _SAME_DETAIL:
                found.append((first, other))
    return NearCopies(pairs_P2=_pairs(found), complete=True)


def look(picture_CSS: NDArray[np.uint16]) -> int:
    """Return 64 bits that stay nearly the same when a picture is resized, brightened or compressed.

    Source: the DCT hash of C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions
    (2010), with the 64 lowest frequencies but the mean, ordered by their sum.
    """
    waves = _waves(picture_CSS.shape[-1])
    spectrum = (waves @ _grey(picture_CSS) @ waves.T).ravel()[_low_frequencies()]
    median = np.sort(spectrum)[31:33].mean()  # numpy's own takes longer than all the rest
    bits = np.packbits(spectrum > median)
    return int.from_bytes(bits.tobytes(), "big")


def detail(picture_CSS: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return what is left of a picture without its coarse shades, as a vector of length 1.

    The coarse shades of two chests are alike; the correlation of these vectors is not.
    """
    size = picture_CSS.shape[-1]
    shrink, blur = _area_weights(size, min(_DETAIL_SIZE, size)), _blur(min(_DETAIL_SIZE, size))
    small = shrink @ _grey(picture_CSS) @ shrink.T
    fine = (small - blur @ small @ blur.T).ravel()
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    # Below one grey level in all, it is rounding, not a picture.
    return np.asarray(fine / length if length > 1 else np.zeros_like(fine), dtype=np.float32)


def groups_across(groups_N: NDArray[Any], sides_N: NDArray[Any]) -> int:
    """Return how many groups have rows on more than one side."""
    numbers_N, count = numbers_of(groups_N)
    sides, num_sides = numbers_of(sides_N)
    different = np.unique(numbers_N * num_sides + sides) // max(num_sides, 1)
    return int(np.count_nonzero(np.bincount(different, minlength=count) > 1))


def _repeats(rows_N: Rows, order_N: NDArray[np.int64], columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which rows, in this order, agree in `columns` with one before."""
    keys_N = np.empty(len(order_N), dtype=[(column, rows_N.dtype[column]) for column in columns])
    for column in columns:
        keys_N[column] = rows_N[column][order_N]
    _, first_N = np.unique(keys_N, return_index=True)
    repeated_N = np.ones(len(order_N), dtype=bool)
    repeated_N[first_N] = False
    return repeated_N


def _candidates(looks_N: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each row with the later rows whose look is about the same."""
    for start in range(0, len(looks_N), _ROWS_AT_ONCE):
        block = looks_N[start : start + _ROWS_AT_ONCE, None] ^ looks_N[None, start:]
        firsts, others = np.nonzero(np.bitwise_count(block) <= _LOOK_BITS)
        later = others > firsts
        firsts, others = firsts[later], others[later]
        for first in np.unique(firsts):
            yield start + int(first), start + others[firsts == first]


def _pairs(found: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _grey(picture_CSS: NDArray[np.uint16]) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = picture_CSS.mean(axis=0, dtype=np.float64)
    return grey


@cache
def _area_weights(size: int, smaller: int) -> NDArray[np.float64]:
    """Return the matrix that shrinks a side of `size` to `smaller`, each old pixel by its share."""
    edges = np.linspace(0, size, smaller + 1)
    begins, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)
    overlaps: NDArray[np.float64] = np.minimum(ends, pixels + 1) - np.maximum(begins, pixels)
    return np.clip(overlaps, 0, None) * (smaller / size)


@cache
def _blur(size: int) -> NDArray[np.float64]:
    """Return the matrix that takes the mean of 5 neighbours; beyond the edge, the edge goes on."""
    neighbours = np.clip(np.arange(size)[:, None] + np.arange(-2, 3), 0, size - 1)
    blur = np.zeros((size, size))
    np.add.at(blur, (np.arange(size)[:, None], neighbours), 1 / 5)
    return blur


@cache
def _waves(size: int) -> NDArray[np.float64]:
    """Return the cosines of the 9 lowest frequencies of a side shrunk to 16."""
    places = np.pi * (2 * np.arange(16) + 1) / 32
    waves: NDArray[np.float64] = np.cos(np.arange(9)[:, None] * places) @ _area_weights(size, 16)
    return waves


@cache
def _low_frequencies() -> NDArray[np.int64]:
    sums = np.add.outer(np.arange(9), np.arange(9)).ravel()
    return np.argsort(sums, kind="stable")[1:65]
