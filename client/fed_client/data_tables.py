"""Shows a data set to a data steward: what will be trained on, what was left out, and what to look into."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fed_client.dataset.manifest import Count, Manifest, Statistic, warnings_of
from fed_client.dataset.verification import FolderChanges, PictureChanges
from fed_client.dataset.versions import Names, Version


def show_version(console: Console, version: Version) -> None:
    """Print what is in a version; nothing of a person, no file name."""
    manifest = version.manifest
    console.print(
        f"Data set {version.name}, {version.digest[:16]}: {manifest.patients} patients, {manifest.images} "
        f"images from {manifest.files} files.\n"
        f"Labels from: {manifest.labels_from}. Text in pixels looked for by: {manifest.detector}."
    )
    console.print(_sides(manifest))
    console.print(_counts(("images of a patient", "patients"), manifest.images_per_patient))
    console.print(_acquisition(manifest.acquisition))
    if manifest.quarantine:
        console.print(_counts(("left out", "files or frames"), _most_first(manifest.quarantine)))
    if manifest.label_problems:
        console.print(_counts(("labels to mend", "lines or files"), _most_first(manifest.label_problems)))
    if manifest.quarantine or manifest.label_problems:
        console.print("`fed-client data show --files` names them.")
    duplicates = manifest.duplicates
    console.print(
        f"Copies left out: {duplicates.same_instance} of the same instance, {duplicates.same_pixels} of the "
        f"same pixels, {duplicates.of_two_patients} of two patients. Alike, and kept: "
        f"{duplicates.near_pairs} pairs."
    )
    for warning in warnings_of(manifest):
        console.print(f"[bold]Look into this:[/bold] {warning}")


def show_names(console: Console, names: Names) -> None:
    """Print which files were left out and why; names can identify, so only who asks for them sees them."""
    for number, file in enumerate(names.files):
        for reason, count in Counter(file.reasons).items():
            times = f" ({count} frames)" if count > 1 else ""
            console.print(f"{number}  {file.name}: {reason}{times}", markup=False, highlight=False)
    for problem in names.problems:
        console.print(f"labels, {problem.place} {problem.number}: {problem.reason}", markup=False)
    for first, second in names.near_copies:
        console.print(
            f"alike: {names.files[first].name}, {names.files[second].name}", markup=False, highlight=False
        )


def show_folder(console: Console, changes: FolderChanges, *, with_names: bool) -> None:
    """Print how many files changed and, if asked for, which."""
    console.print(_summary(changes))
    if with_names:
        for kind, names in (("changed", changes.changed), ("missing", changes.missing), ("new", changes.new)):
            for name in names:
                console.print(f"{kind}  {name}", markup=False, highlight=False)


def show_pictures(console: Console, one: Version, other: Version, changes: PictureChanges) -> None:
    """Print how the second version differs from the first."""
    table = Table(title=f"From {one.name} to {other.name}")
    for heading in ("", "added", "removed", "changed"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("patients", str(changes.patients_added), str(changes.patients_removed), "")
    table.add_row("images", str(changes.pictures_added), str(changes.pictures_removed), "")
    table.add_row("labels", "", "", str(changes.labels_changed))
    table.add_row("sides", "", "", str(changes.sides_changed))
    console.print(table)


def _sides(manifest: Manifest) -> Table:
    table = Table(title="Patients (images)")
    table.add_column("side")
    names = [count.name for count in manifest.sides[0].classes]
    for heading in ("all", *names):
        table.add_column(heading, justify="right")
    for side in manifest.sides:
        classes = (_cell(count.patients, count.images) for count in side.classes)
        table.add_row(side.side, _cell(side.patients, side.images), *classes)
    return table


def _cell(patients: int, images: int) -> str:
    return f"{patients} ({images})"


def _counts(headings: tuple[str, str], counts: Iterable[Count]) -> Table:
    table = Table()
    table.add_column(headings[0])
    table.add_column(headings[1], justify="right")
    for count in counts:
        if count.count:
            table.add_row(escape(count.name), str(count.count))
    return table


def _most_first(counts: Iterable[Count]) -> list[Count]:
    return sorted(counts, key=lambda count: -count.count)


def _acquisition(statistics: Iterable[Statistic]) -> Table:
    table = Table(title="How the images were made", show_header=False)
    table.add_column()
    table.add_column()
    for statistic in statistics:
        table.add_row(statistic.name.replace("_", " "), ", ".join(_most(statistic)))
    return table


def _most(statistic: Statistic) -> Iterator[str]:
    for count in _most_first(statistic.counts)[:8]:
        yield f"{count.name or '(none stated)'} {count.count}"


def _summary(changes: FolderChanges) -> str:
    return f"files: {len(changes.changed)} changed, {len(changes.missing)} missing, {len(changes.new)} new"
