"""Turns public image collections into a federation of hospitals, so that results rest on real images."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset.duplicates import find_near_copies, look
from fed_common.errors import ConfigError, DataError
from fed_common.names import digest_of
from fed_sim.acquisition import Modality
from fed_sim.collection import Collection, Finding, write_collection
from fed_sim.hospitals import FederationSummary, Provenance
from fed_sim.partition import Natural, Spread, hold_out
from fed_sim.sources import Row, load_images, load_index, load_labels, sites_of

# Source: MedMNIST v2, medmnist/info.py.
_MEDMNIST_FINDINGS = {
    "pneumoniamnist": Finding(classes=("normal", "pneumonia"), positive="pneumonia"),
    "breastmnist": Finding(classes=("malignant", "normal-or-benign"), positive="malignant", modality="US"),
}
_SPLITS = ("train", "val", "test")
_ONE_PER_IMAGE = "the source names none: one per image, byte-identical images together"


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """An .npz file with `images` and the CSV file whose row k describes image k.

    The index's own column `split`, if any, is only handed on: it may have one patient on both sides. But with
    `test_split`, its rows of that name are the public test, and no hospital gets an image that looks like one
    of them, or a patient of theirs.
    """

    images: Path
    index: Path
    label_column: str
    patient_column: str = "patient"
    test_split: str = ""
    modality: Modality = "DX"


def import_medmnist(
    npz: Path, out: Path, *, spread: Spread, finding: Finding | None = None
) -> FederationSummary:
    """Write a MedMNIST file as hospitals: train and val are dealt out, the official test is the public test.

    MedMNIST names no patients: each image counts as one, byte-identical images as one together. Images of
    train and val that are also in the test are left out. Without `finding`, the classes follow from the
    file's name, or are called class-0, class-1 and so on, with class-1 as the positive one.

    Raises:
        DataError: the file is no MedMNIST file, or has fewer patients than hospitals.
        ConfigError: `spread` asks for what can't be, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    if isinstance(spread.partition, Natural):
        raise ConfigError("a MedMNIST file names no sites; an index with a column of sites does")
    images, labels, test_begins = _read_medmnist(npz)
    patients = [sha256(image.tobytes()).hexdigest() for image in images]
    in_test = frozenset(patients[test_begins:])
    kept = [row for row, patient in enumerate(patients) if row >= test_begins or patient not in in_test]
    collection = Collection(
        name=npz.stem,
        finding=finding or _MEDMNIST_FINDINGS.get(npz.stem) or _numbered_classes(max(labels)),
        images=images[kept],
        labels=tuple(labels[row] for row in kept),
        patients=tuple(patients[row] for row in kept),
        test_patients=in_test,
    )
    made: Provenance = {
        "source": npz.name,
        "sha256": digest_of(npz.read_bytes()),
        "patients": _ONE_PER_IMAGE,
        "images_left_out_because_also_in_test": len(images) - len(kept),
    }
    return write_collection(out, collection, spread=spread, made=made)


def import_array(
    source: ArraySource, out: Path, *, spread: Spread, test_fraction: float = 0.2
) -> FederationSummary:
    """Write an array with an index as hospitals and a public test set, both made of whole patients.

    The classes of the column `label` are named by the column `label_name`; a 0/1 column X has the classes
    no-X and X. The class of label 1 is the positive one.

    Without a column `patient`, each image counts as one, byte-identical images as one together. With a
    `test_fraction` of 0 there is no public test set; `test_split` takes its place.

    Raises:
        DataError: a file is broken, the two don't belong together, or there are too few patients.
        ConfigError: `test_fraction` or `spread` asks for what can't be, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    images = load_images(source.images, "images")
    named = ("label_name",) if source.label_column == "label" else ()
    natural = (spread.partition.column,) if isinstance(spread.partition, Natural) else ()
    rows = load_index(source.index, (source.label_column, *named, *natural))
    by_image = source.patient_column == "patient" and "patient" not in rows[0]
    if not by_image:
        rows = load_index(source.index, (source.label_column, source.patient_column, *named))
    if len(rows) != len(images):
        raise DataError(f"{source.index}: {len(rows)} rows for {len(images)} images")
    patients = (
        tuple(sha256(image.tobytes()).hexdigest() for image in images)
        if by_image
        else tuple(row[source.patient_column] for row in rows)
    )
    finding, labels = _read_finding(source, rows)
    splits = tuple(row.get("split") or "" for row in rows)
    if source.test_split:
        in_test = np.array([split == source.test_split for split in splits])
        kept = _without_copies_of_the_test(images, patients, in_test)
        test_patients = frozenset(patient for patient, test in zip(patients, in_test, strict=True) if test)
    else:
        kept = list(range(len(images)))
        test_patients = hold_out(patients, test_fraction, spread)
    collection = Collection(
        name=finding.positive,
        finding=finding,
        images=images[kept],
        labels=tuple(labels[row] for row in kept),
        patients=tuple(patients[row] for row in kept),
        test_patients=test_patients,
        splits=tuple(splits[row] for row in kept),
        site_of=sites_of(patients, [row[natural[0]] for row in rows]) if natural else {},
    )
    made: Provenance = {
        "source": source.images.name,
        "sha256": digest_of(source.images.read_bytes()),
        "index": source.index.name,
        "index_sha256": digest_of(source.index.read_bytes()),
        "patients": _ONE_PER_IMAGE
        if by_image
        else f"the column {source.patient_column}; no patient is on two sides",
        "test": f"the rows of split {source.test_split}" if source.test_split else f"{test_fraction:g}",
        "images_left_out_because_like_one_in_test": len(images) - len(kept),
    }
    return write_collection(out, collection, spread=spread, made=made)


def _without_copies_of_the_test(
    images: NDArray[np.uint8], patients: Sequence[str], in_test: NDArray[np.bool_]
) -> list[int]:
    """Return the rows of the test, and those of nobody in it that don't look like one of it."""
    if not in_test.any():
        raise DataError("no row is of the split that is to be the test")
    greys = images.mean(axis=3) if images.ndim == 4 else images
    pictures = (greys.astype(np.float32) * 257).astype(np.uint16)[:, None]
    looks_N = np.array([look(picture) for picture in pictures], dtype=np.uint64)
    copies = find_near_copies(looks_N, lambda row: pictures[row])
    if not copies.complete:
        raise DataError("too many images look alike to tell which of them are copies")
    across = copies.pairs_P2[in_test[copies.pairs_P2[:, 0]] != in_test[copies.pairs_P2[:, 1]]]
    like_test = {int(row) for row in across.ravel() if not in_test[row]}
    test_patients = {patient for patient, test in zip(patients, in_test, strict=True) if test}
    return [
        row
        for row, patient in enumerate(patients)
        if in_test[row] or (row not in like_test and patient not in test_patients)
    ]


def _read_medmnist(npz: Path) -> tuple[NDArray[np.uint8], list[int], int]:
    """Return the images and labels of all splits in a row, and where the test begins."""
    images_of = {split: load_images(npz, f"{split}_images") for split in _SPLITS}
    if len({images.shape[1:] for images in images_of.values()}) != 1:
        raise DataError(f"{npz}: {', '.join(_SPLITS)} must have images of one shape")
    labels = [
        label
        for split, images in images_of.items()
        for label in load_labels(npz, f"{split}_labels", num_images=len(images))
    ]
    return np.concatenate(list(images_of.values())), labels, len(labels) - len(images_of["test"])


def _numbered_classes(highest: int) -> Finding:
    classes = tuple(f"class-{label}" for label in range(max(highest, 1) + 1))
    return Finding(classes=classes, positive=classes[1])


def _read_finding(source: ArraySource, rows: list[Row]) -> tuple[Finding, tuple[int, ...]]:
    """Return what the label column means, and each row's label."""
    texts = [row[source.label_column] for row in rows]
    if source.label_column == "label":
        name_of = {row["label"]: row["label_name"] for row in rows}
    else:
        name_of = {"0": f"no-{source.label_column}", "1": source.label_column}
    known = [str(label) for label in range(len(name_of))]
    if len(name_of) < 2 or set(name_of) != set(known) or not set(texts) <= set(known):
        raise DataError(
            f"{source.index}: {source.label_column} must be 0, 1 and so on, in at least 2 classes"
        )
    classes = tuple(name_of[label] for label in known)
    finding = Finding(classes=classes, positive=classes[1], modality=source.modality)
    return finding, tuple(int(text) for text in texts)
