"""A version before it is written: what is kept, in its final order, and what was left out and why."""

# Shape letters: N pictures.

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset.collecting import Collector
from fed_client.dataset.counting import num_patients
from fed_client.dataset.duplicates import Copies, NearCopies, find_copies, find_near_copies
from fed_client.dataset.files import FileState, FoundFile
from fed_client.dataset.labelling import Assignment
from fed_client.dataset.sealing import Spool
from fed_client.dataset.table import Rows, Table
from fed_client.dataset.versions import FileRecord, Names
from fed_common.errors import DataError
from fed_common.greys import unstored
from fed_common.names import Digest
from fed_common.task import Recipe, Task

SAME_INSTANCE = "a copy: the same instance is there already"
SAME_PIXELS = "a copy: the same pixels of the same patient are there already"
OF_TWO_PATIENTS = "the same image belongs to another patient, too"
COPIES = frozenset({SAME_INSTANCE, SAME_PIXELS})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Draft:
    """Row k of `table` is record `records_N[k]` of the spool; `labelled_N` are all rows with a label."""

    table: Table
    records_N: NDArray[np.int64]
    labelled_N: Rows
    copies: Copies
    near: NearCopies
    names: Names

    @property
    def reasons(self) -> dict[str, int]:
        """Return how often each reason left something out."""
        return dict(Counter(reason for file in self.names.files for reason in file.reasons))

    def contents(self, task: Task) -> Digest:
        """Return what tells this draft from others."""
        return contents_of(self.table, task)

    def check_learnable(self, task: Task, min_patients: int) -> None:
        """Return only if something can be learnt from it.

        Raises:
            DataError: there are too few patients or classes, or nobody is left to train on.
        """
        rows_N = self.table.rows_N
        present = num_patients(rows_N)
        if present < min_patients:
            raise DataError(
                f"at least {min_patients} patients with a usable image are needed, got {present}{self._why()}"
            )
        shown = int(np.bitwise_or.reduce(rows_N["labels"], initial=0))
        missing = [name for bit, name in enumerate(task.classes) if not shown >> bit & 1]
        if len(task.classes) - len(missing) < (1 if task.multi_label else 2):
            raise DataError(
                f"images of at least 2 classes are needed; there is none of {', '.join(missing)}{self._why()}"
            )
        if not (rows_N["side"] == 0).any():
            raise DataError(f"all {present} patients fell to validation or test; lower their fractions")

    def _why(self) -> str:
        if not self.reasons:
            return ""
        often = sorted(self.reasons.items(), key=lambda item: -item[1])[:3]
        return "; left out: " + ", ".join(f"{count} x {reason!r}" for reason, count in often)


def contents_of(table: Table, task: Task) -> Digest:
    """Return the digest of pictures, labels and sides: the same for the same data, registered by anybody."""
    digest = sha256(task.digest.encode())
    for column in ("patient", "pixels", "labels", "side"):
        digest.update(np.ascontiguousarray(table.rows_N[column]).tobytes())
    return Digest(digest.hexdigest())


def make_draft(
    files: Sequence[FoundFile],
    states: Sequence[FileState | None],
    *,
    collector: Collector,
    labels: Assignment,
    spool: Spool,
    recipe: Recipe,
) -> Draft:
    """Return the draft of what was collected."""
    table = _labelled(collector.table(), labels)
    numbers_N = table.rows_N["number"]
    for row, reason in labels.reason_of.items():
        collector.leave_out(int(numbers_N[row]), reason)
    with_label_N = np.setdiff1d(np.arange(len(table.rows_N)), np.fromiter(labels.reason_of, dtype=np.int64))
    copies = find_copies(table.rows_N, with_label_N)
    for rows_N, reason in (
        (copies.same_instance_N, SAME_INSTANCE),
        (copies.same_pixels_N, SAME_PIXELS),
        (copies.of_two_patients_N, OF_TWO_PATIENTS),
    ):
        for number in numbers_N[rows_N].tolist():
            collector.leave_out(number, reason)
    order_N = copies.kept_N[
        np.lexsort([table.rows_N[column][copies.kept_N] for column in ("pixels", "patient", "side")])
    ]
    size = (recipe.channels, recipe.size, recipe.size)

    def picture(place: int) -> NDArray[np.uint16]:
        return unstored(np.frombuffer(spool.read(int(order_N[place])), dtype=np.int16)).reshape(size)

    near = find_near_copies(table.rows_N["look"][order_N], picture)
    near_files_P2 = numbers_N[order_N][near.pairs_P2]
    return Draft(
        table=table.taken(order_N),
        records_N=order_N,
        labelled_N=table.rows_N[with_label_N],
        copies=copies,
        near=near,
        names=Names(
            files=tuple(_records(files, states, collector, frozenset(numbers_N[order_N].tolist()))),
            of_two_patients=tuple(numbers_N[copies.of_two_patients_N].tolist()),
            near_copies=tuple((int(first), int(second)) for first, second in near_files_P2),
            problems=labels.problems,
        ),
    )


def _labelled(table: Table, labels: Assignment) -> Table:
    rows_N = table.rows_N.copy()
    rows_N["labels"] = labels.labels_N
    rows_N["source_split"] = labels.source_splits_N
    return replace(table, rows_N=rows_N)


def _records(
    files: Sequence[FoundFile],
    states: Sequence[FileState | None],
    collector: Collector,
    kept: frozenset[int],
) -> Iterator[FileRecord]:
    for number, (file, state) in enumerate(zip(files, states, strict=True)):
        reasons = tuple(collector.reasons_of.get(number, ()))
        yield FileRecord(
            name=file.name,
            digest=state.digest if state else Digest(""),
            whole=number in kept and not reasons,
            reasons=reasons,
        )
