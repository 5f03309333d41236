"""Lists the image files of a folder and recognises each by its bytes; nothing in a file is parsed here."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from fed_client.reading.raster import SUFFIXES as PICTURES
from fed_common.errors import DataError
from fed_common.names import Digest

_DICOM = ".dcm"
_MAGIC = b"DICM"
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True, repr=False)  # a name can identify a person
class FoundFile:
    """A file below the folder of images; `name` is relative to it, with forward slashes."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class FileState:
    """What the file was when its bytes were taken; another state means other bytes."""

    digest: Digest
    size: int
    changed_ns: int


def list_files(folder: Path) -> list[FoundFile]:
    """Return the files that can hold images or reports, ordered by name.

    These are *.dcm, files without an ending that have DICOM's magic, PNG and JPEG; links are among them,
    to be refused by name. Hidden files, DICOMDIR and everything else are no images.

    Raises:
        DataError: the folder can't be read, or has no such file.
    """
    found: list[FoundFile] = []
    try:
        for parent, _, names in os.walk(folder, onerror=_raise):
            found += [
                FoundFile(name=path.relative_to(folder).as_posix(), path=path)
                for path in map(Path(parent).joinpath, names)
                if _is_wanted(path)
            ]
    except OSError as error:
        raise DataError(f"{folder}: can't be read ({error.strerror})") from None
    if not found:
        raise DataError(f"{folder}: there is no image file (*.dcm, DICOM without an ending, PNG or JPEG)")
    return sorted(found, key=lambda file: file.name)


def state_of(path: Path, key: bytes) -> FileState | None:
    """Return a file's state, keyed by the site's secret; None if it is a link or can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return None
            digest = blake3(key=key)
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return FileState(digest=Digest(digest.hexdigest()), size=before.st_size, changed_ns=before.st_mtime_ns)


def is_still(path: Path, state: FileState) -> bool:
    """Tell whether the file is what it was, by size and time."""
    try:
        now = path.lstat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (state.size, state.changed_ns)


def _is_wanted(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    suffix = path.suffix.lower()
    if suffix == _DICOM or suffix in PICTURES:
        return path.is_symlink() or path.is_file()
    return suffix == "" and not path.is_symlink() and path.is_file() and _has_magic(path)


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == _MAGIC
    except OSError:
        return False


def _raise(error: OSError) -> None:
    raise error
