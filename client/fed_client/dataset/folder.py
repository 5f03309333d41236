"""Makes of a hospital's folder the data set it learns from: by patient, counted, and known by a digest.

A folder holds DICOM files anywhere below `images` (`*.dcm`) and a CSV file with the columns `file`
(relative to `images`, with forward slashes) and `label` (the name of a class).
"""

# Shape letters: N images, C channels, H rows, W columns.

import csv
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.dataset.labelled import LabelledImages, SiteDataset, UnreadableFile
from fed_client.deidentify import Pseudonym, deidentify, keyed_digest
from fed_client.dicom import read_image
from fed_client.pixels import prepare
from fed_common.errors import ConfigError, DataError, UnreadableImageError
from fed_common.names import Digest, digest_of
from fed_common.task import Task
from fed_common.test_set import TestSet

logger = logging.getLogger(__name__)

# The pictures of a public test set are no secret; this only has to be the same everywhere.
_PUBLIC_KEY = bytes(32)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Example:
    image_CHW: NDArray[np.float32]
    label: int
    patient: Pseudonym
    instance: Digest
    content: Digest


def load_dataset(  # noqa: PLR0913 (a folder, and five things that a site decides)
    images: Path,
    labels: Path,
    *,
    task: Task,
    pseudonym_key: bytes,
    min_patients: int,
    validation_fraction: float = 0.2,
    on_image: Progress | None = None,
) -> SiteDataset:
    """Return what can be learnt from, split by patient; `on_image` hears how many files of all are read.

    A patient's side follows from the pseudonym alone, so nobody changes sides when images are added.

    Raises:
        DataError: the labels are wrong, or the readable images are too few to learn from.
        ConfigError: the validation fraction or the key is out of range.
    """
    if not 0 <= validation_fraction < 1:
        raise ConfigError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
    examples, unreadable = _read_folder(images, labels, task=task, key=pseudonym_key, on_image=on_image)
    _check_learnable(examples, task, min_patients)
    held_out = {
        patient: _fraction_of(patient, pseudonym_key) < validation_fraction
        for patient in {example.patient for example in examples}
    }
    train = [example for example in examples if not held_out[example.patient]]
    if not train:
        raise DataError(f"all {len(held_out)} patients fell to validation; lower validation_fraction")
    entries = sorted([example.content, example.label, held_out[example.patient]] for example in examples)
    logger.info("%d images of %d patients, %d unusable files", len(examples), len(held_out), len(unreadable))
    return SiteDataset(
        train=_stack(train, task),
        validation=_stack([example for example in examples if held_out[example.patient]], task),
        digest=digest_of(json.dumps([task.recipe.digest, entries]).encode()),
        unreadable=unreadable,
    )


def load_public_test(folder: Path, task: Task) -> TestSet:
    """Return all images of a public set, laid out as `images/` and `labels.csv` in `folder`.

    Raises:
        DataError: a file can't be used, because results on different sets can't be compared.
    """
    examples, unreadable = _read_folder(
        folder / "images", folder / "labels.csv", task=task, key=_PUBLIC_KEY, on_image=None
    )
    if unreadable:
        first = unreadable[0]
        raise DataError(f"{len(unreadable)} test files can't be used; number {first.index}: {first.reason}")
    _check_learnable(examples, task, min_patients=1)
    images = _stack(examples, task)
    return TestSet(images_NCHW=images.images_NCHW, labels_N=images.labels_N, patients_N=images.patients_N)


def _read_folder(
    images: Path, labels: Path, *, task: Task, key: bytes, on_image: Progress | None
) -> tuple[list[_Example], tuple[UnreadableFile, ...]]:
    """Return each image once, ordered by patient and content, and the files that can't be used."""
    present = {path.relative_to(images).as_posix() for path in images.rglob("*.dcm")}
    if not present:
        raise DataError(f"{images}: there is no .dcm file")
    label_of = _read_labels(labels, task)
    names = sorted(present | label_of.keys())
    examples: list[_Example] = []
    unreadable: list[UnreadableFile] = []
    for index, name in enumerate(names):
        try:
            if name not in label_of:
                raise UnreadableImageError("the file has no label")
            if name not in present:
                raise UnreadableImageError("the labels name it, but there is no such .dcm file")
            examples.append(_read_example(images / name, label_of[name], task=task, key=key))
        except UnreadableImageError as error:
            unreadable.append(UnreadableFile(index=index, reason=str(error)))
        if on_image is not None:
            on_image(index + 1, len(names))
    return sorted(_once(examples), key=lambda example: (example.patient, example.content)), tuple(unreadable)


def _read_example(path: Path, label: int, *, task: Task, key: bytes) -> _Example:
    image = deidentify(read_image(path), key)
    return _Example(
        image_CHW=prepare(image, task.recipe),
        label=label,
        patient=image.patient,
        instance=image.instance,
        content=image.content,
    )


def _once(examples: Iterable[_Example]) -> list[_Example]:
    """Drop copies: a file's own identity, or a patient's pixels, that were there before."""
    seen: set[Digest] = set()
    unique = []
    for example in examples:
        if seen.isdisjoint((example.instance, example.content)):
            unique.append(example)
        seen.update((example.instance, example.content))
    return unique


def _read_labels(path: Path, task: Task) -> dict[str, int]:
    """Return the label of each file name; what a cell says is never repeated in an error."""
    label_of: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"file", "label"} <= set(rows.fieldnames or ()):
                raise DataError(f"{path}: the first line must name the columns file and label")
            for row in rows:
                name, label = row["file"], row["label"]
                if not name or label not in task.classes:
                    known = ", ".join(task.classes)
                    raise DataError(f"{path}: line {rows.line_num} needs a file and one of {known}")
                if label_of.setdefault(name, task.classes.index(label)) != task.classes.index(label):
                    raise DataError(f"{path}: line {rows.line_num} contradicts an earlier label of its file")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no CSV file in UTF-8 ({type(error).__name__})") from None
    return label_of


def _check_learnable(examples: list[_Example], task: Task, min_patients: int) -> None:
    num_patients = len({example.patient for example in examples})
    if num_patients < min_patients:
        raise DataError(
            f"at least {min_patients} patients with a usable image are needed, got {num_patients}"
        )
    present = {example.label for example in examples}
    missing = [name for label, name in enumerate(task.classes) if label not in present]
    if len(present) < 2:
        raise DataError(f"images of at least 2 classes are needed; there is none of {', '.join(missing)}")


def _fraction_of(patient: Pseudonym, key: bytes) -> float:
    """Return a patient's fixed place in [0, 1), which says nothing about the pseudonym."""
    return int(keyed_digest(key, "split", patient)[:13], base=16) / 16**13


def _stack(examples: list[_Example], task: Task) -> LabelledImages:
    """Return the examples as tensors; of shape (0, C, H, W) if there are none."""
    recipe = task.recipe
    images_NCHW = np.empty((len(examples), recipe.channels, recipe.size, recipe.size), dtype=np.float32)
    for row, example in enumerate(examples):
        images_NCHW[row] = example.image_CHW
    patients = sorted({example.patient for example in examples})
    number_of = {patient: number for number, patient in enumerate(patients)}
    return LabelledImages(
        images_NCHW=torch.from_numpy(images_NCHW),
        labels_N=torch.tensor([example.label for example in examples], dtype=torch.int64),
        patients_N=torch.tensor([number_of[example.patient] for example in examples], dtype=torch.int64),
        num_patients=len(patients),
    )
