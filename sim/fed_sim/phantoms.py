"""Makes hospitals out of nothing: DICOM folders of drawn chests, some with a lesion; no patient needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fed_common.errors import ConfigError
from fed_common.seeds import stream
from fed_common.task import Recipe, Task
from fed_sim.anatomy import draw_body
from fed_sim.dicom_writer import DicomImage
from fed_sim.hospitals import (
    PUBLIC_TEST,
    FederationSummary,
    LabelledImage,
    finish_federation,
    site_names,
    start_federation,
    write_site,
)
from fed_sim.identities import invent_visit
from fed_sim.scanners import Scanner, scanner_of

TASK = Task(name="phantom-lesion", classes=("normal", "lesion"), positive="lesion", recipe=Recipe())

_SIZES = (400, 600, 900)
_PREVALENCES = (0.35, 0.5, 0.25, 0.4)
_TEST_PREVALENCE = 0.4
# Most patients come once; the share of patients with 1, 2, 3 and 4 images.
_IMAGES_PER_PATIENT = (0.7, 0.15, 0.1, 0.05)


@dataclass(frozen=True, kw_only=True)
class _Hospital:
    """Who comes to a hospital and how they are imaged there."""

    name: str
    scanner: Scanner
    prevalence: float


def usual_sizes(sites: int) -> tuple[int, ...]:
    """Return how many patients each hospital has if nobody says otherwise."""
    return tuple(_SIZES[index % 3] + 50 * (index // 3) for index in range(sites))


def write_phantoms(
    out: Path, *, sites: int, seed: int, patients: Sequence[int] = (), test_patients: int = 600
) -> FederationSummary:
    """Write a federation of phantom hospitals into the new folder `out`; equal arguments, equal bytes.

    `patients` gives each hospital's size, or nothing for the usual ones. The test patients come from all
    the hospitals' scanners in turn.

    Raises:
        ConfigError: a number is not allowed, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    names = site_names(sites)
    sizes = tuple(patients) or usual_sizes(sites)
    if len(sizes) != sites or min(*sizes, test_patients) < 1:
        raise ConfigError(
            f"patients must be {sites} numbers of at least 1, like test_patients; "
            f"got {list(sizes)} and {test_patients}"
        )
    hospitals = [_hospital(index, name) for index, name in enumerate(names)]
    start_federation(out, TASK)
    summary = FederationSummary(
        sites=tuple(
            write_site(out / hospital.name, _images([hospital], size, seed), positive=TASK.positive)
            for hospital, size in zip(hospitals, sizes, strict=True)
        ),
        public_test=write_site(
            out / PUBLIC_TEST,
            _images([_as_test(hospital) for hospital in hospitals], test_patients, seed),
            positive=TASK.positive,
        ),
        made={"source": "phantoms", "seed": seed, "sites": sites, "test_patients": test_patients},
    )
    finish_federation(out, summary)
    return summary


def _hospital(index: int, name: str) -> _Hospital:
    scanner = scanner_of(index)
    house = replace(scanner.device, institution=f"Phantom Hospital No. {index + 1}")
    return _Hospital(
        name=name,
        scanner=replace(scanner, device=house),
        prevalence=_PREVALENCES[index % len(_PREVALENCES)],
    )


def _as_test(hospital: _Hospital) -> _Hospital:
    """Return the hospital with the test's prevalence: there, knowing the scanner must say nothing."""
    return replace(hospital, name=PUBLIC_TEST, prevalence=_TEST_PREVALENCE)


def _images(hospitals: Sequence[_Hospital], num_patients: int, seed: int) -> Iterator[LabelledImage]:
    """Yield the images of patients who go to the hospitals in turn; all come from one stream of chance."""
    rng = stream(seed, f"phantoms/{hospitals[0].name}")
    for number in range(1, num_patients + 1):
        hospital = hospitals[number % len(hospitals)]
        yield from _patient(hospital, number, uid_root=f"phantoms/{seed}", rng=rng)


def _patient(
    hospital: _Hospital, number: int, *, uid_root: str, rng: np.random.Generator
) -> Iterator[LabelledImage]:
    visit = invent_visit(rng, hospital=hospital.name, number=number, uid_root=uid_root)
    lesion = bool(rng.uniform() < hospital.prevalence)
    body_HW = draw_body(rng, lesion=lesion)
    num_images = 1 + int(rng.choice(4, p=_IMAGES_PER_PATIENT))
    for image in range(1, num_images + 1):
        yield LabelledImage(
            file=f"study-{number:06d}/image-{image}.dcm",
            label="lesion" if lesion else "normal",
            image=DicomImage(
                visit=visit,
                device=hospital.scanner.device,
                encoding=hospital.scanner.encoding,
                number=image,
                pixels=hospital.scanner.scan(body_HW, rng),
            ),
        )
