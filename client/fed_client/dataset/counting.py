"""Adds up what a version is made of, for its manifest: numbers that name nobody."""

# Shape letters: N pictures, M patients.

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset.duplicates import Copies, NearCopies, groups_across
from fed_client.dataset.manifest import (
    ClassCount,
    Count,
    DuplicateCounts,
    SideCount,
    SourceSplitCounts,
    Statistic,
)
from fed_client.dataset.table import NAMED_BY, SIDES, Rows, Table, numbers_of, terms_of
from fed_common.task import Task

_STEPS = ((1, "1"), (2, "2"), (5, "3 to 5"), (10, "6 to 10"), (100, "11 to 100"))


def side_counts(rows_N: Rows, task: Task) -> tuple[SideCount, ...]:
    """Return what is on each side; a patient counts for every class that an image of theirs shows."""
    sides = []
    for number, side in enumerate(SIDES):
        here_N = rows_N[rows_N["side"] == number]
        sides.append(
            SideCount(
                side=side,
                images=len(here_N),
                patients=num_patients(here_N),
                classes=tuple(
                    ClassCount(
                        name=name,
                        images=len(showing_N := _showing(here_N, bit)),
                        patients=num_patients(showing_N),
                    )
                    for bit, name in enumerate(task.classes)
                ),
            )
        )
    return tuple(sides)


def num_patients(rows_N: Rows) -> int:
    """Return how many patients the rows are of."""
    return len(np.unique(rows_N["patient"]))


def files_as_patients(rows_N: Rows) -> int:
    """Return how many of the patients are files for which nobody is named."""
    return num_patients(rows_N[rows_N["named_by"] == NAMED_BY.index("nobody")])


def images_per_patient(rows_N: Rows) -> tuple[Count, ...]:
    """Return how many patients have how many images, in steps."""
    places_N, count = numbers_of(rows_N["patient"])
    images_M = np.bincount(places_N, minlength=count)
    steps, below = [], 0
    for most, name in _STEPS:
        steps.append(Count(name=name, count=int(((images_M > below) & (images_M <= most)).sum())))
        below = most
    steps.append(Count(name="more", count=int((images_M > below).sum())))
    return tuple(steps)


def acquisition_statistics(table: Table) -> tuple[Statistic, ...]:
    """Return how many pictures were made how, term by term; an empty word means that the file doesn't say."""
    weights = np.bincount(table.rows_N["acquisition"], minlength=len(table.acquisitions))
    counters: dict[str, Counter[str]] = {}
    for acquisition, weight in zip(table.acquisitions, weights.tolist(), strict=True):
        for term, value in terms_of(acquisition).items():
            counters.setdefault(term, Counter())[value] += weight
    return tuple(
        Statistic(
            name=term,
            counts=tuple(
                Count(name=value, count=count) for value, count in sorted(counter.items()) if count > 0
            ),
        )
        for term, counter in counters.items()
    )


def duplicate_counts(rows_N: Rows, copies: Copies, near: NearCopies) -> DuplicateCounts:
    """Return how many copies were left out, and how many pairs of `rows_N` look alike."""
    first_P, second_P = near.pairs_P2.T
    return DuplicateCounts(
        same_instance=len(copies.same_instance_N),
        same_pixels=len(copies.same_pixels_N),
        of_two_patients=len(copies.of_two_patients_N),
        near_pairs=len(near.pairs_P2),
        near_pairs_between_patients=_differ(rows_N, "patient", first_P, second_P),
        near_pairs_between_sides=_differ(rows_N, "side", first_P, second_P),
        near_complete=near.complete,
    )


def source_split_counts(rows_N: Rows) -> SourceSplitCounts | None:
    """Return what the source's own split mixes up, before copies are left out; None if it has none."""
    split_N = rows_N[rows_N["source_split"] > 0]
    if not len(split_N):
        return None
    places_N, count = numbers_of(split_N["pixels"])
    repeated_N = np.bincount(places_N, minlength=count)[places_N] > 1
    groups_N = split_N[repeated_N]
    return SourceSplitCounts(
        patients=num_patients(split_N),
        patients_on_several=groups_across(split_N["patient"], split_N["source_split"]),
        duplicate_groups=len(np.unique(groups_N["pixels"])),
        duplicate_groups_on_several=groups_across(groups_N["pixels"], groups_N["source_split"]),
    )


def _showing(rows_N: Rows, bit: int) -> Rows:
    shown_N: NDArray[np.bool_] = (rows_N["labels"] >> np.uint64(bit)) & np.uint64(1) == 1
    return np.asarray(rows_N[shown_N])


def _differ(rows_N: Rows, column: str, first_P: NDArray[np.int64], second_P: NDArray[np.int64]) -> int:
    return int((rows_N[column][first_P] != rows_N[column][second_P]).sum())
