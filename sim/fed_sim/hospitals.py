"""Writes a federation as folders: what each hospital would find on its own disk, and the public test set.

OUT/task.toml                  what is learnt
OUT/federation.json            sizes, prevalences and how all this was made
OUT/<site>/images/**/*.dcm     one folder of DICOM files per hospital, or of pictures
OUT/<site>/labels.csv          header `file,label[,patient][,split]`; files relative to images/
OUT/public-test/...            the coordinator's test patients, in the same form
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fed_common.errors import ConfigError, MachineError
from fed_common.names import SiteName, site_name
from fed_common.plans import SiteTerms
from fed_common.task import Task
from fed_sim.dicom_writer import DicomImage, write_dicom

PUBLIC_TEST = SiteName("public-test")
SUMMARY_FILE = "federation.json"

Provenance = Mapping[str, str | int | float]


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image with its class, its place below images/ and, if the source has one, its side of a split."""

    file: str
    label: str
    image: DicomImage
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A line of labels.csv; an empty `patient` means that the file names its patient itself."""

    file: str
    label: str
    patient: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """What is known of one folder; `prevalence` counts patients, `patients` is the public size class.

    `classes` says how many patients are of each class; one with images of several is of the positive one.
    """

    name: SiteName
    modality: str
    num_patients: int
    num_images: int
    prevalence: float
    patients: int
    classes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class FederationSummary:
    """All hospitals, the public test set, empty if nobody was held out for it, and how they were made."""

    sites: tuple[SiteSummary, ...]
    public_test: SiteSummary
    made: Provenance


def site_names(num_sites: int) -> tuple[SiteName, ...]:
    """Return the hospitals' names.

    Raises:
        ConfigError: there would be no hospital, or more than a machine can play.
    """
    if not 1 <= num_sites <= 1000:
        raise ConfigError(f"sites must be in [1, 1000], got {num_sites}")
    return tuple(SiteName(f"hospital-{number}") for number in range(1, num_sites + 1))


def size_class(num_patients: int) -> int:
    """Return the number rounded up to two significant digits: what a hospital says of its size in public."""
    unit = int(10 ** max(len(str(num_patients)) - 2, 0))
    return -(-num_patients // unit) * unit


def start_federation(out: Path, task: Task) -> None:
    """Create the folder `out` with its task.toml.

    Raises:
        ConfigError: the folder holds something already; two federations in one would be neither.
        MachineError: the disk refuses.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError(f"{out}: must be a new or empty folder")
        (out / "task.toml").write_text(_task_toml(task), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def write_site(folder: Path, images: Iterable[LabelledImage], *, positive: str) -> SiteSummary:
    """Write one hospital's images and labels as they come and return what they add up to.

    Raises:
        MachineError: the disk refuses.
    """
    rows: list[LabelRow] = []
    modalities: set[str] = set()
    patients: list[str] = []
    for item in images:
        write_dicom(folder / "images" / item.file, item.image)
        rows.append(LabelRow(file=item.file, label=item.label, split=item.split))
        modalities.add(item.image.device.modality)
        patients.append(item.image.visit.person.patient_id)
    write_labels(folder / "labels.csv", rows)
    return summarise(folder, rows, patients, modality="+".join(sorted(modalities)), positive=positive)


def summarise(
    folder: Path, rows: Sequence[LabelRow], patients: Sequence[str], *, modality: str, positive: str
) -> SiteSummary:
    """Return what the images of a folder, one row and patient each, add up to."""
    class_of: dict[str, str] = {}
    for row, patient in zip(rows, patients, strict=True):
        if class_of.get(patient) != positive:
            class_of[patient] = row.label
    classes = Counter(class_of.values())
    return SiteSummary(
        name=SiteName(folder.name),
        modality=modality,
        num_patients=len(class_of),
        num_images=len(rows),
        prevalence=round(classes[positive] / max(len(class_of), 1), 4),
        patients=size_class(len(class_of)),
        classes=dict(sorted(classes.items())),
    )


def finish_federation(out: Path, summary: FederationSummary) -> None:
    """Write federation.json.

    Raises:
        MachineError: the disk refuses.
    """
    try:
        (out / SUMMARY_FILE).write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def load_summary(hospitals: Path) -> FederationSummary:
    """Return what federation.json in the folder says.

    Raises:
        ConfigError: there is none of this form.
    """
    try:
        file = json.loads((hospitals / SUMMARY_FILE).read_text(encoding="utf-8"))
        return FederationSummary(
            sites=tuple(SiteSummary(**site) for site in file["sites"]),
            public_test=SiteSummary(**file["public_test"]),
            made=file["made"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{hospitals}: {SUMMARY_FILE} doesn't tell what is here") from error


def load_site_terms(hospitals: Path) -> tuple[SiteTerms, ...]:
    """Return the hospitals of the folder with their public size classes.

    Raises:
        ConfigError: the folder holds no federation of this form.
    """
    try:
        summary = json.loads((hospitals / SUMMARY_FILE).read_text(encoding="utf-8"))
        return tuple(
            SiteTerms(name=site_name(site["name"]), patients=site["patients"]) for site in summary["sites"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{hospitals}: no hospitals here; `fed-sim phantoms` or `fed-sim import` makes some"
        ) from error


def write_labels(path: Path, rows: Sequence[LabelRow]) -> None:
    """Write labels.csv, with the columns patient and split only where somebody states them.

    Raises:
        MachineError: the disk refuses.
    """
    columns = ["file", "label"]
    columns += [name for name in ("patient", "split") if any(getattr(row, name) for row in rows)]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([getattr(row, name) for name in columns] for row in rows)
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def _task_toml(task: Task) -> str:
    """Return the task as TOML; JSON's strings and arrays of strings are also TOML's."""
    recipe = task.recipe
    model = f"model = {json.dumps(task.model)}\n" if task.model != "seed-cnn" else ""
    window = (
        f"window_centre = {recipe.window_centre}\nwindow_width = {recipe.window_width}\n"
        if recipe.intensity == "fixed"
        else ""
    )
    return (
        f"name = {json.dumps(task.name)}\n"
        f"classes = {json.dumps(task.classes)}\n"
        f"positive = {json.dumps(task.positive)}\n"
        f"{model}\n"
        f"[recipe]\nsize = {recipe.size}\nchannels = {recipe.channels}\n"
        f"intensity = {json.dumps(recipe.intensity)}\n"
        f"{window}"
    )
