"""Reads a public test set whole: the same pictures for everybody, or none."""

# Shape letters: N pictures, C channels, H rows, W columns.

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from fed_client.dataset.draft import COPIES, Draft
from fed_client.dataset.labelled import LabelledImages, label_tensor
from fed_client.dataset.labelling import Labels
from fed_client.dataset.making import Making, spool_of
from fed_client.dataset.sealing import Spool
from fed_client.dataset.source import OpenReader, Source, reading_processes
from fed_client.dataset.split import Fractions
from fed_client.dataset.table import numbers_of
from fed_client.dataset.versions import Names
from fed_common.errors import DataError
from fed_common.greys import model_input
from fed_common.task import Recipe, Task
from fed_common.test_set import TestSet

# The pictures of a public test set are no secret; this only has to be the same everywhere.
_PUBLIC_SECRET = bytes(32)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReadAtOnce:
    """All images of a folder, and what came of its files."""

    images: LabelledImages
    names: Names


def load_public_test(folder: Path, task: Task, *, open_reader: OpenReader = reading_processes) -> TestSet:
    """Return all images of a public set, laid out as `images/` and `labels.csv` in `folder`, copies once.

    Raises:
        DataError: a file can't be used, because results on different sets can't be compared.
    """
    read = read_at_once(folder, task, open_reader=open_reader)
    _refuse_any_left_out(read.names)
    images = read.images
    return TestSet(
        images_NCHW=model_input(images.images_NCHW), labels_N=images.labels_N, patients_N=images.patients_N
    )


def read_at_once(folder: Path, task: Task, *, open_reader: OpenReader = reading_processes) -> ReadAtOnce:
    """Return all usable images of a folder laid out as a public set; nothing is kept on disk.

    Raises:
        DataError: the labels are wrong, or nothing can be learnt from the images.
    """
    source = Source(
        images=folder / "images", labels=folder / "labels.csv", fractions=Fractions(validation=0, test=0)
    )
    labels = Labels.load("list", source.labels, task, _PUBLIC_SECRET)
    with (
        TemporaryDirectory() as aside,
        open_reader(task.recipe) as reader,
        spool_of(Path(aside), task) as spool,
    ):
        draft = Making(
            source=source, task=task, secret=_PUBLIC_SECRET, last=None, labels=labels, reader=reader
        ).read(spool)
        draft.check_learnable(task, min_patients=1)
        images_NCHW = _pictures(draft, spool, task.recipe)
    rows_N = draft.table.rows_N
    numbers_N, count = numbers_of(rows_N["patient"])
    images = LabelledImages(
        images_NCHW=images_NCHW,
        labels_N=label_tensor(rows_N["labels"], task),
        patients_N=torch.from_numpy(numbers_N),
        num_patients=count,
    )
    return ReadAtOnce(images=images, names=draft.names)


def _refuse_any_left_out(names: Names) -> None:
    left_out = [
        (number, reason)
        for number, file in enumerate(names.files)
        for reason in file.reasons
        if reason not in COPIES
    ]
    left_out += [(problem.number, problem.reason) for problem in names.problems]
    if left_out:
        number, reason = left_out[0]
        raise DataError(f"{len(left_out)} test files or labels can't be used; number {number}: {reason}")


def _pictures(draft: Draft, spool: Spool, recipe: Recipe) -> torch.Tensor:
    shape = (len(draft.records_N), recipe.channels, recipe.size, recipe.size)
    values_NCHW = np.empty(shape, dtype=np.int16)
    for place, record in enumerate(draft.records_N):
        values_NCHW[place] = np.frombuffer(spool.read(int(record)), dtype=np.int16).reshape(shape[1:])
    return torch.from_numpy(values_NCHW)
