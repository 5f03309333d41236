"""Reads a hospital's list of labels, a CSV file as a spreadsheet writes it, line by line.

    file,label                          one class for each image; with several labels, split by semicolons
    file,mass,nodule,effusion           several labels: 0 or 1 for each class of the task
    sop_instance_uid,label,patient      UIDs instead of paths; `patient` and `split` may be added to each

`file` is relative to the images, with forward slashes. With several labels an empty `label` means none.
A line that can't be used is listed and its image left out; only a file that is no such list is refused.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fed_client.dataset.labels import Label, LabelKey, LabelProblem, LabelTable
from fed_common.errors import DataError
from fed_common.task import Task

MAX_LINES = 1_000_000
MAX_LINE_BYTES = 4096

_SPLITS = {"": "", "train": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_SPLITS |= {"test": "test"}
# A spreadsheet would compute these; what it then shows is something else than what is read here.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UID = re.compile(r"[0-9.]{1,64}")


class _LineError(Exception):
    """Why a line can't be used."""


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where the cells are: either `label`, or one cell of `classes` for each class of the task."""

    width: int
    key: LabelKey
    key_at: int
    label: int | None
    classes: tuple[int, ...]
    patient: int | None
    split: int | None


def read_csv_labels(path: Path, task: Task) -> LabelTable:
    """Return the labels in the CSV file at `path`, and a problem for each line that can't be used.

    Raises:
        DataError: it can't be read, or is no list of labels of this task.
    """
    try:
        if not path.is_file():
            raise DataError("the list of labels is missing, or no regular file")
        with path.open("rb") as file:
            lines = _lines(file)
            columns = _columns(next(lines, (1, b""))[1], task)
            return _read(lines, columns, task)
    except OSError as error:
        raise DataError(f"the list of labels can't be read ({error.strerror})") from None


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines with their numbers, None instead of one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number > MAX_LINES:
            raise DataError(f"the list of labels has more than {MAX_LINES} lines")
        if len(line) <= MAX_LINE_BYTES:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


def _columns(first: bytes | None, task: Task) -> _Columns:
    try:
        names = [name.strip() for name in _cells((first or b"").removeprefix(b"\xef\xbb\xbf"))]
    except _LineError as error:
        raise DataError(f"the list of labels is no CSV file in UTF-8: in its first line, {error}") from None
    if len(names) == 1 and {";", "\t"} & set(names[0]):
        raise DataError("the list of labels must separate its columns by commas")
    at = {name: number for number, name in enumerate(names)}
    keys: list[LabelKey] = [key for key in ("file", "sop_instance_uid") if key in at]
    by_class = task.multi_label and set(task.classes) <= at.keys()
    if len(keys) != 1 or ("label" in at) == by_class:
        form = "label, or one column for each class" if task.multi_label else "label"
        raise DataError(
            f"the list of labels must begin with the columns file or sop_instance_uid, and {form}"
        )
    used = {*keys, "label", "patient", "split", *(task.classes if by_class else ())}
    if any(names.count(name) > 1 for name in used):
        raise DataError("the list of labels must name a column once")
    return _Columns(
        width=len(names),
        key=keys[0],
        key_at=at[keys[0]],
        label=at.get("label"),
        classes=tuple(at[name] for name in task.classes) if by_class else (),
        patient=at.get("patient"),
        split=at.get("split"),
    )


def _cells(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _LineError("something is not UTF-8") from None
    if "\0" in text:
        raise _LineError("something is not text")
    if '"' not in text:
        return text.split(",")
    try:
        # One line at a time: a quote that nobody closes spoils one line, not the rest of the file.
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise _LineError("the quotes don't match") from None


def _read(lines: Iterator[tuple[int, bytes | None]], columns: _Columns, task: Task) -> LabelTable:
    labels: dict[str, Label] = {}
    left_out: set[str] = set()
    problems: list[LabelProblem] = []
    meanings = _Meanings(task, columns)
    for number, line in lines:
        key = ""
        try:
            if line is None:
                raise _LineError(f"it has more than {MAX_LINE_BYTES} bytes")
            if not line.strip():
                continue
            cells = _cells(line)
            key = _key(cells, columns)
            label = meanings.label(cells, number)
            earlier = labels.setdefault(key, label)
            if key in left_out:
                raise _LineError("its image is left out because of an earlier line")
            if earlier is not label:
                if replace(earlier, number=number) != label:
                    raise _LineError(f"it contradicts line {earlier.number}")
                problems.append(_problem(number, f"it repeats line {earlier.number}"))
        except _LineError as error:
            problems.append(_problem(number, str(error)))
            if key:
                left_out.add(key)
                labels.pop(key, None)
    return LabelTable(
        key=columns.key, place="line", labels=labels, left_out=left_out, problems=tuple(problems)
    )


def _problem(number: int, reason: str) -> LabelProblem:
    return LabelProblem(place="line", number=number, reason=reason)


def _key(cells: list[str], columns: _Columns) -> str:
    if len(cells) != columns.width:
        raise _LineError(f"it has {len(cells)} cells, the first line {columns.width}")
    key = cells[columns.key_at]
    if not key:
        raise _LineError(f"{columns.key} is missing")
    if key.startswith(_FORMULA):
        raise _LineError(f"{columns.key} begins like a formula")
    if columns.key == "sop_instance_uid" and not _UID.fullmatch(key):
        raise _LineError("sop_instance_uid must be digits and dots")
    return key


class _Meanings:
    """Turns the cells of a line into a label; equal cells into the same object."""

    def __init__(self, task: Task, columns: _Columns) -> None:
        self._task = task
        self._columns = columns
        self._known: dict[str, frozenset[int]] = {}

    def label(self, cells: list[str], number: int) -> Label:
        """Return the label, or raise `_LineError` if the line states none."""
        columns = self._columns
        patient = "" if columns.patient is None else cells[columns.patient]
        if patient.startswith(_FORMULA):
            raise _LineError("patient begins like a formula")
        split = _SPLITS.get("" if columns.split is None else cells[columns.split].strip())
        if split is None:
            raise _LineError("split must be train, validation, test or empty")
        if columns.label is None:
            text = ",".join(cells[at].strip() for at in columns.classes)
        else:
            text = cells[columns.label].strip()
        classes = self._known.get(text)
        if classes is None:
            classes = self._flags(text) if columns.label is None else self._names(text)
            self._known[text] = classes
        return Label(classes=classes, number=number, patient=patient, split=split)

    def _flags(self, text: str) -> frozenset[int]:
        flags = text.split(",")
        if not set(flags) <= {"0", "1"}:
            raise _LineError("the columns of the classes must be 0 or 1")
        return frozenset(number for number, flag in enumerate(flags) if flag == "1")

    def _names(self, text: str) -> frozenset[int]:
        task = self._task
        if not text and task.multi_label:
            return frozenset()
        if not text:
            raise _LineError("label is missing")
        if text.startswith(_FORMULA):
            raise _LineError("label begins like a formula")
        names = [name.strip() for name in text.split(";")] if task.multi_label else [text]
        if not set(names) <= set(task.classes):
            raise _LineError(f"label must be of {', '.join(task.classes)}")
        return frozenset(map(task.classes.index, names))
