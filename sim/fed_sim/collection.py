"""Deals a collection of 8-bit images out to hospitals and a public test set, by whole patients.

The hospitals get DICOM files that carry a pseudonymous PatientID and nothing else about a person.
"""

# Shape letters: N images of H rows and W columns; colour images carry a last axis of 3.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import ConfigError, DataError
from fed_common.seeds import stream
from fed_common.task import ModelName, Recipe, Task
from fed_sim.acquisition import Device, Encoding, Modality
from fed_sim.dicom_writer import DicomImage, Person, Visit
from fed_sim.hospitals import (
    PUBLIC_TEST,
    FederationSummary,
    LabelledImage,
    Provenance,
    finish_federation,
    site_names,
    start_federation,
    summarise,
    write_site,
)
from fed_sim.partition import ConceptShifted, ScannerShifted, Spread, divide
from fed_sim.partition.concept_shift import brightness_of, called_negative
from fed_sim.partition.scanner_shift import ShiftedScanner, shifted_scanner


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the numbers of the labels mean: `classes[k]` is the name of label k."""

    classes: tuple[str, ...]
    positive: str
    modality: Modality = "DX"

    def __post_init__(self) -> None:
        if self.positive not in self.classes:
            raise ConfigError(f"positive must be one of {', '.join(self.classes)}, got {self.positive!r}")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Images with a label and a patient each; `test_patients`, if any, are for the public test set.

    `splits` is the source's own split, image by image; hospitals only count what it mixes up. `site_of` is
    where the source says that a patient was imaged.
    """

    name: str
    finding: Finding
    images: NDArray[np.uint8] | NDArray[np.uint16]
    labels: tuple[int, ...]
    patients: tuple[str, ...]
    test_patients: frozenset[str]
    recipe: Recipe | None = None
    model: ModelName = "seed-cnn"
    splits: tuple[str, ...] = ()
    site_of: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        highest = len(self.finding.classes) - 1
        if not all(0 <= label <= highest for label in self.labels):
            raise DataError(f"labels must be in [0, {highest}], got {min(self.labels)} to {max(self.labels)}")

    @property
    def in_colour(self) -> bool:
        """Return whether the images are RGB."""
        return self.images.ndim == 4

    def class_of_patients(self) -> dict[str, str]:
        """Return the class of every patient to deal out: the positive one if any image shows it."""
        class_of: dict[str, str] = {}
        for patient, label in zip(self.patients, self.labels, strict=True):
            if patient not in self.test_patients and class_of.get(patient) != self.finding.positive:
                class_of[patient] = self.finding.classes[label]
        return class_of


def write_collection(
    out: Path, collection: Collection, *, spread: Spread, made: Provenance
) -> FederationSummary:
    """Write the collection as a federation into the new folder `out`; equal arguments, equal bytes.

    Raises:
        DataError: there are fewer patients than hospitals.
        ConfigError: the number of hospitals is not allowed, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    rng = stream(spread.seed, "partition")
    dealt = divide(
        collection.class_of_patients(),
        spread.partition,
        sites=spread.sites,
        rng=rng,
        site_of=collection.site_of,
    )
    names = site_names(len(dealt))
    finding = collection.finding
    recipe = collection.recipe or Recipe(channels=3 if collection.in_colour else 1)
    start_federation(
        out,
        Task(
            name=collection.name,
            classes=finding.classes,
            positive=finding.positive,
            recipe=recipe,
            model=collection.model,
        ),
    )
    how = {"kind": type(spread.partition).__name__, **asdict(spread.partition)}
    summary = FederationSummary(
        sites=tuple(
            write_site(
                out / name,
                _images(_as_seen_at(collection, patients, index=index, spread=spread), frozenset(patients)),
                positive=finding.positive,
            )
            for index, (name, patients) in enumerate(zip(names, dealt, strict=True))
        ),
        public_test=write_site(
            out / PUBLIC_TEST,
            _images(_as_seen_by_all(collection, spread), collection.test_patients),
            positive=finding.positive,
        )
        if collection.test_patients
        else summarise(out / PUBLIC_TEST, [], [], modality=finding.modality, positive=finding.positive),
        made={**made, "seed": spread.seed, **{f"partition_{key}": value for key, value in how.items()}},
    )
    finish_federation(out, summary)
    return summary


def _as_seen_at(collection: Collection, patients: Sequence[str], *, index: int, spread: Spread) -> Collection:
    """Return the collection with the pictures and labels that hospital `index` has of its patients."""
    match spread.partition:
        case ScannerShifted(strength=strength):
            scanner = shifted_scanner(index, sites=spread.sites, strength=strength)
            images = _scanned(collection, dict.fromkeys(patients, scanner), seed=spread.seed)
            return replace(collection, images=images)
        case ConceptShifted(share=share):
            classes, positive = collection.finding.classes, collection.finding.positive
            negative = next(label for label, name in enumerate(classes) if name != positive)
            class_of = collection.class_of_patients()
            denied = called_negative(
                [patient for patient in patients if class_of[patient] == positive],
                brightness_of(collection.patients, [float(image.mean()) for image in collection.images]),
                index=index,
                sites=spread.sites,
                share=share,
            )
            labels = tuple(
                negative if patient in denied and classes[label] == positive else label
                for patient, label in zip(collection.patients, collection.labels, strict=True)
            )
            return replace(collection, labels=labels)
        case _:
            return collection


def _as_seen_by_all(collection: Collection, spread: Spread) -> Collection:
    """Return the collection with the test patients' pictures from all hospitals' scanners in turn."""
    if not isinstance(spread.partition, ScannerShifted):
        return collection
    scanners = [
        shifted_scanner(index, sites=spread.sites, strength=spread.partition.strength)
        for index in range(spread.sites)
    ]
    in_turn = dict(zip(sorted(collection.test_patients), cycle(scanners), strict=False))
    return replace(collection, images=_scanned(collection, in_turn, seed=spread.seed))


def _scanned(
    collection: Collection, scanners: Mapping[str, ShiftedScanner], *, seed: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    images = collection.images.copy()
    for row, patient in enumerate(collection.patients):
        if patient in scanners:
            images[row] = scanners[patient].scan(images[row], stream(seed, f"scanner/{row}"))
    return images


def _images(collection: Collection, patients: frozenset[str]) -> Iterator[LabelledImage]:
    """Yield the images of `patients`, in the collection's order."""
    device = Device(modality="OP" if collection.in_colour else collection.finding.modality)
    encoding = Encoding(photometric="RGB" if collection.in_colour else "MONOCHROME2")
    if collection.images.dtype == np.uint16:
        encoding = Encoding(bits_stored=16, window_center=1 << 15, window_width=1 << 16)
    number_of = {patient: number for number, patient in enumerate(sorted(set(collection.patients)))}
    for row, patient in enumerate(collection.patients):
        if patient not in patients:
            continue
        yield LabelledImage(
            file=f"image-{row:06d}.dcm",
            label=collection.finding.classes[collection.labels[row]],
            split=collection.splits[row] if collection.splits else "",
            image=DicomImage(
                visit=Visit(
                    person=Person(patient_id=f"PSEUDO-{number_of[patient]:06d}"),
                    uid_root=f"{collection.name}/{number_of[patient]}",
                ),
                device=device,
                encoding=encoding,
                number=row + 1,
                pixels=collection.images[row],
            ),
        )
