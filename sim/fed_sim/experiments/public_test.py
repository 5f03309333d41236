"""Leaves in a public test what hospitals would be given of it, so that both are judged on the like."""

import csv
from pathlib import Path

from fed_client.dataset.public import read_at_once
from fed_client.dataset.source import OpenReader
from fed_common.task import Task
from fed_sim.hospitals import LabelRow, write_labels


def drop_unusable(test: Path, task: Task, open_reader: OpenReader) -> int:
    """Leave in the test what would be given to hospitals, and return how much that is.

    Copies go, and pictures that may show burned-in text.
    """
    files = read_at_once(test, task, open_reader=open_reader).names.files
    usable = {file.name for file in files if not file.reasons}
    with (test / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [LabelRow(**row) for row in csv.DictReader(file)]
    write_labels(test / "labels.csv", [row for row in rows if row.file in usable])
    for row in rows:
        if row.file not in usable:
            (test / "images" / row.file).unlink()
    return len(usable)
