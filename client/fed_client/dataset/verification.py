"""Checks that a version is what was registered, and the folder still what it came from; compares versions."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fed_client.dataset.counting import side_counts
from fed_client.dataset.draft import contents_of
from fed_client.dataset.files import list_files, state_of
from fed_client.dataset.making import file_key
from fed_client.dataset.source import SiteKeys
from fed_client.dataset.table import Table
from fed_client.dataset.versions import Names, Version, list_versions, load_version
from fed_common.errors import DataError, TrustError
from fed_common.names import Digest
from fed_common.task import Task


@dataclass(frozen=True, kw_only=True, repr=False)  # names can identify
class FolderChanges:
    """Names of the files that aren't what was registered."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.new)


@dataclass(frozen=True, kw_only=True)
class PictureChanges:
    """How many pictures and patients came, went, or were given another label or side."""

    pictures_added: int
    pictures_removed: int
    patients_added: int
    patients_removed: int
    labels_changed: int
    sides_changed: int


def verify_stored(version: Version, task: Task, keys: SiteKeys) -> None:
    """Return only if every byte of the version is what was signed, down to its counts.

    Raises:
        TrustError: something was altered, or the history is broken.
        DataError: a file can't be read.
    """
    made = version.manifest
    for name, digest in (
        ("images", made.images_file),
        ("table", made.table_file),
        ("names", made.names_file),
    ):
        if _digest_of_file(version.path / name) != digest:
            raise TrustError(f"data set {version.name}: {name} isn't what was registered")
    key = version.key(keys.secret)
    version.names(key)
    table = version.table(key)
    pictures = sum(1 for _ in version.rows(key))
    if not len(table.rows_N) == pictures == made.num_rows:
        raise TrustError(f"data set {version.name}: table and images don't belong together")
    if made.task == task.digest and (
        contents_of(table, task) != made.contents or side_counts(table.rows_N, task) != made.sides
    ):
        raise TrustError(f"data set {version.name}: the manifest doesn't say what is in the table")


def verify_history(folder: Path, keys: SiteKeys) -> int:
    """Return how many versions are here, each signed and each naming the one before it.

    Raises:
        TrustError: one was replaced or signed by somebody else.
    """
    previous: Version | None = None
    numbers = list_versions(folder)
    for number in numbers:
        version = load_version(folder, number, keys.identity.verifying_key)
        follows = previous is not None and previous.manifest.version + 1 == number
        if previous is not None and follows and version.manifest.predecessor != previous.digest:
            raise TrustError(f"data set {version.name} doesn't follow the version before it")
        previous = version
    return len(numbers)


def compare_folder(version: Version, images: Path, keys: SiteKeys) -> FolderChanges:
    """Return in what the folder of images differs from what was registered.

    Raises:
        DataError: the folder can't be read.
        TrustError: the version was altered.
    """
    key = file_key(keys.secret)
    found = {}
    for file in list_files(images):
        state = state_of(file.path, key)
        found[file.name] = state.digest if state else Digest("")
    return _changes(version.names(version.key(keys.secret)), found)


def compare_files(one: Version, other: Version, keys: SiteKeys) -> FolderChanges:
    """Return in what the files of `other` differ from those of `one`.

    Raises:
        TrustError: a version was altered.
    """
    names = other.names(other.key(keys.secret))
    return _changes(one.names(one.key(keys.secret)), {file.name: file.digest for file in names.files})


def compare_pictures(one: Version, other: Version, keys: SiteKeys) -> PictureChanges:
    """Return in what the pictures of `other` differ from those of `one`.

    Raises:
        TrustError: a version was altered.
    """
    before = _by_picture(one.table(one.key(keys.secret)))
    after = _by_picture(other.table(other.key(keys.secret)))
    both = before.keys() & after.keys()
    patients_before = {patient for patient, _ in before}
    patients_after = {patient for patient, _ in after}
    return PictureChanges(
        pictures_added=len(after.keys() - before.keys()),
        pictures_removed=len(before.keys() - after.keys()),
        patients_added=len(patients_after - patients_before),
        patients_removed=len(patients_before - patients_after),
        labels_changed=sum(before[picture][0] != after[picture][0] for picture in both),
        sides_changed=sum(before[picture][1] != after[picture][1] for picture in both),
    )


def _changes(registered: Names, found: dict[str, Digest]) -> FolderChanges:
    digest_of = {file.name: file.digest for file in registered.files}
    return FolderChanges(
        changed=tuple(name for name, digest in digest_of.items() if name in found and found[name] != digest),
        missing=tuple(name for name in digest_of if name not in found),
        new=tuple(name for name in found if name not in digest_of),
    )


def _by_picture(table: Table) -> dict[tuple[bytes, bytes], tuple[int, int]]:
    patients, pixels, labels, sides = (
        table.rows_N[name].tolist() for name in ("patient", "pixels", "labels", "side")
    )
    return dict(zip(zip(patients, pixels, strict=True), zip(labels, sides, strict=True), strict=True))


def _digest_of_file(path: Path) -> str:
    digest = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    return digest.hexdigest()
