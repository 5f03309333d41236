"""Gives each picture its label from where the site said: a list, reports, or the pictures' own headers.

UIDs are keyed as soon as they are read; from then on only the keyed ones are compared.
"""

# Shape letters: N pictures.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset.files import FoundFile
from fed_client.dataset.labels import (
    Label,
    LabelProblem,
    LabelTable,
    labels_from_codes,
    labels_from_reports,
    uncovered,
)
from fed_client.dataset.lists import read_csv_labels
from fed_client.dataset.manifest import LabelSource
from fed_client.dataset.table import SOURCE_SPLITS, Table
from fed_client.deidentification import keyed_digest
from fed_client.images import Finding
from fed_common.names import Digest
from fed_common.task import Task

# Whom the list of labels names for an instance, given by its keyed digest.
ListedPatient = Callable[[Digest], str]

UNLABELLED = "there is no label for it"
UNUSABLE = "its label can't be used"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Assignment:
    """The labels of all rows; `reason_of` says why a row has none."""

    labels_N: NDArray[np.uint64]
    source_splits_N: NDArray[np.uint8]
    reason_of: dict[int, str]
    problems: tuple[LabelProblem, ...]


def origin_of(uid: str, key: bytes) -> Digest:
    """Return the keyed digest by which an instance is compared."""
    return keyed_digest(key, "origin", uid)


class Labels:
    """What the site says its images show."""

    def __init__(self, source: LabelSource, task: Task, listed: LabelTable | None) -> None:
        self._source: LabelSource = source
        self._task = task
        self._listed = listed

    @classmethod
    def load(cls, source: LabelSource, path: Path, task: Task, key: bytes) -> "Labels":
        """Return the labels of the list at `path`; reports and headers are read with the images.

        Raises:
            DataError: it is no list of labels of this task.
        """
        if source != "list":
            return cls(source, task, None)
        table = read_csv_labels(path, task)
        if table.key == "sop_instance_uid":
            table = replace(
                table,
                labels={origin_of(uid, key): label for uid, label in table.labels.items()},
                left_out={origin_of(uid, key) for uid in table.left_out},
            )
        return cls(source, task, table)

    def listed_patient(self, file: FoundFile, origin: Digest) -> str:
        """Return whom the list names for the file, or for the instance in it; empty if nobody."""
        if self._listed is None:
            return ""
        label = self._listed.labels.get(file.name if self._listed.key == "file" else origin)
        return label.patient if label else ""

    def refusal(self, file: FoundFile) -> str:
        """Return why a file needn't be read, empty if it must be."""
        table = self._by_file
        if table is None or file.name in table.labels:
            return ""
        return UNUSABLE if file.name in table.left_out else UNLABELLED

    def assign(self, table: Table, files: Sequence[FoundFile], findings: Sequence[Finding]) -> Assignment:
        """Return the labels of all rows; `findings` name their images by keyed digest."""
        origins = [origin.hex() for origin in _whole(table, "origin")]
        if self._by_file is not None:
            keys = [files[number].name for number in table.rows_N["number"].tolist()]
            present = [file.name for file in files]
            labels = self._by_file
        else:
            labels = self._by_origin(table, origins, findings)
            keys, present = origins, list(dict.fromkeys(origins))
        found = [labels.labels.get(key) for key in keys]
        absent = [problem for problem in uncovered(labels, present) if problem.place == "line"]
        return Assignment(
            labels_N=np.array([_bits(label) for label in found], dtype=np.uint64),
            source_splits_N=np.array(
                [SOURCE_SPLITS.index(label.split) if label else 0 for label in found], dtype=np.uint8
            ),
            reason_of={
                row: UNUSABLE if keys[row] in labels.left_out else UNLABELLED
                for row, label in enumerate(found)
                if label is None
            },
            problems=(*labels.problems, *absent),
        )

    @property
    def _by_file(self) -> LabelTable | None:
        return self._listed if self._listed is not None and self._listed.key == "file" else None

    def _by_origin(self, table: Table, origins: list[str], findings: Sequence[Finding]) -> LabelTable:
        if self._listed is not None:
            return self._listed
        if self._source == "reports":
            return labels_from_reports(enumerate(findings), self._task)
        return labels_from_codes(_in_headers(table, origins), self._task)


def _in_headers(table: Table, origins: list[str]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for row, origin in zip(table.rows_N, origins, strict=True):
        yield int(row["number"]), origin, table.codes[row["codes"]]


def _whole(table: Table, column: str) -> Iterator[bytes]:
    """Yield the digests of a column; numpy cuts off trailing zero bytes."""
    return (digest.ljust(32, b"\0") for digest in table.rows_N[column].tolist())


def _bits(label: Label | None) -> int:
    return sum(1 << number for number in label.classes) if label else 0
