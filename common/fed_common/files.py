"""Writes files so that a crash leaves the old or the new one, and keeps two processes out of one place."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fed_common.errors import MachineError
from fed_common.names import Bytes


def write_atomically(path: Path, data: Bytes, *, private: bool = False) -> None:
    """Replace `path` by `data` for good: written aside, synced, renamed, and the rename synced.

    With `private`, nobody but the owner can read it, at no moment.

    Raises:
        MachineError: the disk is full or not writable; the old file is still there.
    """
    aside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            if private:
                os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to tell
            aside.unlink(missing_ok=True)
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def append_durably(path: Path, line: bytes) -> None:
    """Append one line to `path`; when this returns, the line survives a power cut.

    Raises:
        MachineError: the disk is full or not writable.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)  # half a line, or one that nobody counts, would spoil the next
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, folder_mode: int = 0o777) -> Iterator[None]:
    """Wait until no other process holds `path`, and hold it; its folder is made if there is none.

    Raises:
        MachineError: it can't be made.
    """
    try:
        path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MachineError(f"{path.parent}: can't be written ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(folder: Path, *, owner: str) -> Iterator[None]:
    """Hold `folder` for this process; the operating system lets go of it even after kill -9.

    Raises:
        MachineError: another process holds it, or it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MachineError(f"{folder}: can't be used ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise MachineError(f"{folder}: another {owner} is running on it") from error
    try:
        yield
    finally:
        os.close(descriptor)
