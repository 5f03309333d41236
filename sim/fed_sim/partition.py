"""Deals the patients of one collection out to several hospitals, evenly or as unevenly as in life.

A patient is never split: all their images go where they go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import ConfigError, DataError
from fed_common.seeds import stream


@dataclass(frozen=True, kw_only=True)
class ByPatient:
    """Every patient goes to a hospital by chance; the hospitals are of equal size."""


@dataclass(frozen=True, kw_only=True)
class LabelSkewed:
    """Each class is dealt out by Dirichlet shares; the smaller `alpha`, the more the hospitals differ.

    Source: Hsu, Qi and Brown 2019, arXiv:1909.06335; here over patients instead of images.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"alpha must be above 0, got {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class SizeSkewed:
    """The sizes are a geometric row: the last hospital has `ratio` times the patients of the first."""

    ratio: float

    def __post_init__(self) -> None:
        if not 1 <= self.ratio <= 1e6:
            raise ConfigError(f"ratio must be in [1, 1e6], got {self.ratio}")


Partition = ByPatient | LabelSkewed | SizeSkewed


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Over how many hospitals patients are dealt out, in which way and from which seed."""

    sites: int
    partition: Partition = ByPatient()
    seed: int


def divide(
    class_of: Mapping[str, str], partition: Partition, *, sites: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Return each hospital's patients, sorted; every patient is in one hospital, none is empty.

    `class_of` gives each patient's class. Equal arguments give equal hospitals, whatever the order of
    the mapping.

    Raises:
        DataError: there are fewer patients than hospitals.
    """
    if not 1 <= sites <= len(class_of):
        raise DataError(f"sites must be in [1, {len(class_of)}], the number of patients, got {sites}")
    patients = sorted(class_of)
    match partition:
        case ByPatient():
            groups = _deal(patients, np.full(sites, 1 / sites), rng)
        case SizeSkewed(ratio=ratio):
            sizes = np.geomspace(1, ratio, sites)
            groups = _deal(patients, sizes / sizes.sum(), rng)
        case LabelSkewed(alpha=alpha):
            groups = [[] for _ in range(sites)]
            for label in sorted(set(class_of.values())):
                of_class = [patient for patient in patients if class_of[patient] == label]
                shares = rng.dirichlet(np.full(sites, alpha))
                for group, dealt in zip(groups, _deal(of_class, shares, rng), strict=True):
                    group.extend(dealt)
    _fill_empty(groups)
    return tuple(tuple(sorted(group)) for group in groups)


def hold_out(patients: Sequence[str], fraction: float, spread: Spread) -> frozenset[str]:
    """Return the patients of the public test, at least one unless `fraction` is 0; with all their images.

    Raises:
        ConfigError: `fraction` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ConfigError(f"test_fraction must be in [0, 1), got {fraction}")
    if fraction == 0:
        return frozenset()
    everyone = sorted(set(patients))
    order = stream(spread.seed, "public test").permutation(len(everyone))
    return frozenset(everyone[index] for index in order[: max(1, round(fraction * len(everyone)))])


def _deal(patients: list[str], shares: NDArray[np.float64], rng: np.random.Generator) -> list[list[str]]:
    """Shuffle the patients and cut the row at the cumulative shares."""
    shuffled = [patients[index] for index in rng.permutation(len(patients))]
    cuts = [0, *np.rint(np.cumsum(shares[:-1]) * len(patients)).astype(int), len(patients)]
    return [shuffled[begin:end] for begin, end in pairwise(cuts)]


def _fill_empty(groups: list[list[str]]) -> None:
    """Give every empty hospital one patient of the largest."""
    for group in groups:
        if not group:
            group.append(max(groups, key=len).pop())
