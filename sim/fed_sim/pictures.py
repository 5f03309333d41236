"""Deals a folder of PNG or JPEG pictures out to hospitals as they are: theirs is the work of reading them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fed_common.errors import ConfigError, DataError, MachineError
from fed_common.names import digest_of
from fed_common.seeds import stream
from fed_common.task import Recipe, Task
from fed_sim.hospitals import (
    PUBLIC_TEST,
    FederationSummary,
    LabelRow,
    Provenance,
    SiteSummary,
    finish_federation,
    site_names,
    start_federation,
    summarise,
    write_labels,
)
from fed_sim.partition import ConceptShifted, Natural, ScannerShifted, Spread, divide, hold_out
from fed_sim.sources import Row, load_index, sites_of

_ENDINGS = (".png", ".jpg", ".jpeg")
# What a hospital's reader says of pictures without a header.
_MODALITY = "OT"


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """A folder and a CSV file with the columns `file`, relative to the folder, and `label`.

    Optional columns are `label_name`, which then names the classes, `patient` and `split`. With `classes`,
    only pictures of these are dealt out, and the second one named is the positive one.
    """

    folder: Path
    index: Path
    channels: Literal[1, 3] = 1
    classes: tuple[str, ...] = ()


def import_pictures(
    source: PictureSource, out: Path, *, spread: Spread, test_fraction: float = 0.2
) -> FederationSummary:
    """Write the pictures as hospitals and a public test set of whole patients.

    Without a column `patient`, each picture counts as one, byte-identical files as one together. The
    second class by name, or by number where `label_name` names it, is the positive one.

    Raises:
        DataError: a file is missing or no picture, or there are too few patients or classes.
        ConfigError: `test_fraction` or `spread` asks for what can't be, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    if isinstance(spread.partition, ScannerShifted | ConceptShifted):
        raise ConfigError("pictures are dealt out as they are; to shift scanners or concepts takes an array")
    natural = (spread.partition.column,) if isinstance(spread.partition, Natural) else ()
    rows = load_index(source.index, ("file", "label", *natural))
    if source.classes:
        rows = [row for row in rows if (row.get("label_name") or row["label"]) in source.classes]
    classes = source.classes or _classes(rows, source.index)
    if len(classes) < 2 or {row.get("label_name") or row["label"] for row in rows} != set(classes):
        raise DataError(f"{source.index}: needs pictures of at least 2 classes, and of each that is named")
    labelled = [_label_row(source, row) for row in rows]
    held_out = hold_out([row.patient for row in labelled], test_fraction, spread)
    class_of: dict[str, str] = {}
    for row in labelled:
        if row.patient not in held_out and class_of.get(row.patient) != classes[1]:
            class_of[row.patient] = row.label
    rng = stream(spread.seed, "partition")
    dealt = divide(
        class_of,
        spread.partition,
        sites=spread.sites,
        rng=rng,
        site_of=sites_of([row.patient for row in labelled], [row[natural[0]] for row in rows])
        if natural
        else None,
    )
    recipe = Recipe(channels=source.channels)
    start_federation(out, Task(name=classes[1], classes=classes, positive=classes[1], recipe=recipe))

    def written(name: str, patients: frozenset[str]) -> SiteSummary:
        ours = [row for row in labelled if row.patient in patients]
        return _write_site(out / name, ours, source.folder, positive=classes[1])

    made: Provenance = {
        "source": source.folder.name,
        "index": source.index.name,
        "index_sha256": digest_of(source.index.read_bytes()),
        "seed": spread.seed,
        "partition_kind": type(spread.partition).__name__,
        "test_fraction": test_fraction,
    }
    summary = FederationSummary(
        sites=tuple(
            written(name, frozenset(patients))
            for name, patients in zip(site_names(len(dealt)), dealt, strict=True)
        ),
        public_test=written(PUBLIC_TEST, held_out),
        made=made,
    )
    finish_federation(out, summary)
    return summary


def _classes(rows: list[Row], index: Path) -> tuple[str, ...]:
    if "label_name" in rows[0]:
        by_number = {row["label"]: row["label_name"] for row in rows}
        classes = tuple(by_number[number] for number in sorted(by_number, key=lambda text: (len(text), text)))
    else:
        classes = tuple(sorted({row["label"] for row in rows}))
    return classes


def _label_row(source: PictureSource, row: Row) -> LabelRow:
    path = source.folder / row["file"]
    if not path.resolve().is_relative_to(source.folder.resolve()) or path.suffix.lower() not in _ENDINGS:
        raise DataError(f"{source.index}: file must be a PNG or JPEG file in the folder")
    try:
        patient = row.get("patient") or digest_of(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    return LabelRow(
        file=row["file"],
        label=row.get("label_name") or row["label"],
        patient=patient,
        split=row.get("split") or "",
    )


def _write_site(folder: Path, rows: list[LabelRow], pictures: Path, *, positive: str) -> SiteSummary:
    try:
        for row in rows:
            target = folder / "images" / row.file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pictures / row.file, target)
    except OSError as error:
        raise MachineError(f"{folder}: can't be written ({error.strerror})") from error
    if rows:
        write_labels(folder / "labels.csv", rows)
    patients = [row.patient for row in rows]
    return summarise(folder, rows, patients, modality=_MODALITY, positive=positive)
