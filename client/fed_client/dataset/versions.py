"""Where the versions of a data set are: a folder for each, whole or not there, never changed afterwards.

v0001/manifest.json    signed
v0001/images, table    encrypted
v0001/names            encrypted: file names, and why a file wasn't used; both can identify
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fed_client.dataset.labels import LabelProblem
from fed_client.dataset.manifest import Manifest, read_manifest
from fed_client.dataset.sealing import SealedFile, VersionKey, read_sealed, stream_chunks
from fed_client.dataset.table import Table, decode
from fed_common import canonical
from fed_common.errors import DataError, MachineError, TrustError
from fed_common.files import sync_folder
from fed_common.names import Digest
from fed_common.signing import VerifyingKey
from fed_common.task import Task

MANIFEST = "manifest.json"
CONTENTS: tuple[SealedFile, ...] = ("images", "names", "table")
_NAME = re.compile(r"v(\d{4,6})")


@dataclass(frozen=True, kw_only=True, repr=False)  # names and pseudonyms
class FileRecord:
    """What came of one file; it is `whole` if all its pictures are in the data set."""

    name: str
    digest: Digest
    whole: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Names:
    """The files of a version in order, what is wrong with the labels, and suspicions by files' numbers."""

    files: tuple[FileRecord, ...]
    of_two_patients: tuple[int, ...]
    near_copies: tuple[tuple[int, int], ...]
    problems: tuple[LabelProblem, ...]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version on disk, its signature checked."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"v{self.manifest.version:04d}"

    @property
    def digest(self) -> Digest:
        """Return the data set's digest: that of its manifest."""
        return canonical.digest(self.manifest)

    @property
    def erased(self) -> bool:
        """Tell whether its pictures were deleted, because somebody in it withdrew."""
        return not (self.path / "table").exists()

    def key(self, site_secret: bytes) -> VersionKey:
        """Return the key of the files.

        Raises:
            TrustError: it was wrapped with another secret.
        """
        return VersionKey.unwrap(self.manifest.key, dataset=self.manifest.dataset, site_secret=site_secret)

    def table(self, key: VersionKey) -> Table:
        """Return the table of the rows.

        Raises:
            TrustError: it was altered.
        """
        raw = bytearray(self.manifest.table_bytes)
        self.decrypt("table", memoryview(raw), key)
        return decode(raw)

    def names(self, key: VersionKey) -> Names:
        """Return the names of the files and what came of them.

        Raises:
            TrustError: they were altered.
        """
        raw = bytearray(self.manifest.names_bytes)
        self.decrypt("names", memoryview(raw), key)
        return decode_names(raw)

    def decrypt(self, file: SealedFile, target: memoryview, key: VersionKey) -> None:
        """Decrypt one of the files into `target`.

        Raises:
            TrustError: it was altered.
            DataError: it can't be read.
        """
        try:
            read_sealed(self.path / file, target, key=key, file=file)
        except OSError as error:
            raise DataError(f"{self.path / file}: can't be read ({error.strerror})") from None

    def rows(self, key: VersionKey) -> Iterator[bytes]:
        """Yield the rows of the images one after another, in little memory.

        Raises:
            TrustError: they were altered.
            DataError: they can't be read.
        """
        size, pending = self.manifest.row_bytes, bytearray()
        try:
            for chunk in stream_chunks(
                self.path / "images", self.manifest.num_rows * size, key=key, file="images"
            ):
                pending += chunk
                whole = len(pending) // size * size
                for start in range(0, whole, size):
                    yield bytes(pending[start : start + size])
                del pending[:whole]
        except OSError as error:
            raise DataError(f"{self.path / 'images'}: can't be read ({error.strerror})") from None


def datasets_folder(state: Path, task: Task) -> Path:
    """Return where the versions for a task are kept; the name is made fit for a folder."""
    name = re.sub(r"[^a-z0-9]+", "-", task.name.lower()).strip("-")
    return state / "datasets" / (name or "task")


def dataset_folders(state: Path) -> list[Path]:
    """Return where versions are kept for any task, also for those that the site has learnt before."""
    return sorted(path for path in (state / "datasets").glob("*") if path.is_dir())


def list_versions(folder: Path) -> list[int]:
    """Return the numbers of the versions, oldest first."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(name[1]) for name in names if name)


def load_version(folder: Path, number: int, key: VerifyingKey) -> Version:
    """Return one version.

    Raises:
        DataError: there is none of that number.
        TrustError: it isn't this site's, or says that it is another.
    """
    path = folder / f"v{number:04d}"
    manifest = read_manifest(path / MANIFEST, key)
    if manifest.version != number:
        raise TrustError(f"{path}: is version {manifest.version}")
    return Version(path=path, manifest=manifest)


def latest_version(folder: Path, key: VerifyingKey) -> Version | None:
    """Return the newest version, None if there is none.

    Raises:
        TrustError: it isn't this site's.
    """
    numbers = list_versions(folder)
    return load_version(folder, numbers[-1], key) if numbers else None


@contextmanager
def new_version(folder: Path, number: int) -> Iterator[Path]:
    """Yield a folder that becomes the version when the block ends, and vanishes if it fails.

    Raises:
        MachineError: the disk refuses.
    """
    aside = folder / f".v{number:04d}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(aside, ignore_errors=True)  # what a crash left
        aside.mkdir(mode=0o700)
        yield aside
        sync_folder(aside)
        os.rename(aside, folder / f"v{number:04d}")  # noqa: PTH104 (replace would take an empty folder's place)
        sync_folder(folder)
    except OSError as error:
        raise MachineError(f"{folder}: the data set can't be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(aside)


def encode_names(names: Names) -> bytes:
    """Return the names as bytes."""
    files = [[file.name, file.digest, file.whole, file.reasons] for file in names.files]
    problems = [[problem.place, problem.number, problem.reason] for problem in names.problems]
    return json.dumps([files, names.of_two_patients, names.near_copies, problems]).encode()


def decode_names(raw: bytes | bytearray) -> Names:
    """Return the names that `encode_names` wrote.

    Raises:
        TrustError: they are of another form.
    """
    try:
        files, of_two_patients, near_copies, problems = json.loads(raw)
        return Names(
            files=tuple(
                FileRecord(name=name, digest=Digest(digest), whole=whole, reasons=tuple(reasons))
                for name, digest, whole, reasons in files
            ),
            of_two_patients=tuple(of_two_patients),
            near_copies=tuple((first, second) for first, second in near_copies),
            problems=tuple(
                LabelProblem(place=place, number=number, reason=reason) for place, number, reason in problems
            ),
        )
    except (ValueError, TypeError):
        raise TrustError("the names of the data set are of another form") from None
