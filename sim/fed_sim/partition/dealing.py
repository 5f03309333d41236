"""Deals the patients of one collection out to several hospitals.

A patient is never split: all their images go where they go.
"""

# Shape letters: S hospitals, K classes.

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import ConfigError, DataError
from fed_common.seeds import stream
from fed_sim.partition.kinds import (
    ByPatient,
    ConceptShifted,
    LabelSkewed,
    MissingClasses,
    Natural,
    Partition,
    ScannerShifted,
    SizeSkewed,
    Spread,
)


def divide(
    class_of: Mapping[str, str],
    partition: Partition,
    *,
    sites: int,
    rng: np.random.Generator,
    site_of: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Return each hospital's patients, sorted; every patient is in one hospital, none is empty.

    `class_of` gives each patient's class, `site_of` the source's own site, by whose names the hospitals are
    ordered. Equal arguments give equal hospitals, whatever the order of the mappings.

    Raises:
        DataError: there are fewer patients than hospitals, or the patients don't allow the partition.
    """
    if isinstance(partition, Natural):
        return _by_site(class_of, site_of or {}, partition.column)
    if not 1 <= sites <= len(class_of):
        raise DataError(f"sites must be in [1, {len(class_of)}], the number of patients, got {sites}")
    patients = sorted(class_of)
    match partition:
        case ByPatient() | ScannerShifted() | ConceptShifted():
            groups = _deal(patients, np.full(sites, 1 / sites), rng)
        case SizeSkewed(ratio=ratio):
            sizes = np.geomspace(1, ratio, sites)
            groups = _deal(patients, sizes / sizes.sum(), rng)
        case LabelSkewed(alpha=alpha):
            groups = _deal_by_class(class_of, lambda _: rng.dirichlet(np.full(sites, alpha)), rng)
        case MissingClasses(classes=classes):
            groups = _deal_by_class(class_of, _shares_of_seers(class_of, classes, sites), rng)
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


def _deal_by_class(
    class_of: Mapping[str, str], shares_of: Callable[[str], NDArray[np.float64]], rng: np.random.Generator
) -> list[list[str]]:
    """Deal each class out by its own shares of the hospitals."""
    dealt: list[list[list[str]]] = []
    for label in sorted(set(class_of.values())):
        shares = shares_of(label)
        of_class = sorted(patient for patient, own in class_of.items() if own == label)
        dealt.append(_deal(of_class, shares, rng))
    return [[patient for of_class in part for patient in of_class] for part in zip(*dealt, strict=True)]


def _shares_of_seers(
    class_of: Mapping[str, str], classes: int, sites: int
) -> Callable[[str], NDArray[np.float64]]:
    """Return equal shares of a class for the hospitals that see it; they take the classes in turn."""
    labels = sorted(set(class_of.values()))
    if not classes < len(labels) <= sites * classes:
        raise DataError(
            f"hospitals that see {classes} classes each must miss one of {len(labels)} and together see all, "
            f"got {sites} hospitals"
        )
    sees_SK = np.zeros((sites, len(labels)))
    for turn in range(sites * classes):
        sees_SK[turn // classes, turn % len(labels)] = 1
    return lambda label: sees_SK[:, labels.index(label)] / sees_SK[:, labels.index(label)].sum()


def _by_site(
    class_of: Mapping[str, str], site_of: Mapping[str, str], column: str
) -> tuple[tuple[str, ...], ...]:
    unknown = sum(not site_of.get(patient) for patient in class_of)
    if unknown:
        raise DataError(
            f"the index's column {column} must name the site of every patient, {unknown} have none"
        )
    names = sorted({site_of[patient] for patient in class_of})
    return tuple(tuple(sorted(p for p in class_of if site_of[p] == name)) for name in names)


def _fill_empty(groups: list[list[str]]) -> None:
    """Give every empty hospital one patient of the largest."""
    for group in groups:
        if not group:
            group.append(max(groups, key=len).pop())
