"""Deletes versions that nothing refers to any more: pictures that nobody needs shouldn't be kept."""

import os
import shutil
from collections.abc import Set
from pathlib import Path

from fed_client.dataset.versions import Version, list_versions, load_version
from fed_common.errors import MachineError
from fed_common.files import exclusive, sync_folder
from fed_common.names import Digest
from fed_common.signing import VerifyingKey


def unneeded_versions(folder: Path, needed: Set[Digest], key: VerifyingKey) -> list[Version]:
    """Return all versions but the newest and those that are `needed`, oldest first.

    Raises:
        TrustError: a version isn't this site's, so that nobody knows which it is.
    """
    versions = [load_version(folder, number, key) for number in list_versions(folder)]
    return [version for version in versions[:-1] if version.digest not in needed]


def prune(folder: Path, needed: Set[Digest], key: VerifyingKey) -> list[Version]:
    """Delete the unneeded versions, each as a whole or not at all, and return them.

    Raises:
        TrustError: see `unneeded_versions`; nothing was deleted.
        MachineError: the disk refuses, or another process registers.
    """
    with exclusive(folder, owner="registration"):
        unneeded = unneeded_versions(folder, needed, key)
        try:
            for version in unneeded:
                os.rename(version.path, _aside(version.path))  # noqa: PTH104 (as in `new_version`)
            sync_folder(folder)
            for left in folder.glob(_aside(Path("v*")).name):  # also what a crash left
                shutil.rmtree(left)
        except OSError as error:
            raise MachineError(f"{folder}: versions can't be deleted ({error.strerror})") from None
    return unneeded


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.deleted")
