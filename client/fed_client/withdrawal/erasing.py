"""Deletes the pictures of versions that held somebody who withdrew; their signed manifests stay."""

from collections.abc import Set

from fed_client.dataset.copying import whole_hex
from fed_client.dataset.versions import CONTENTS, Version
from fed_client.deidentification import Pseudonym
from fed_common.errors import MachineError
from fed_common.files import sync_folder


def patients_of(version: Version, site_secret: bytes) -> frozenset[Pseudonym]:
    """Return whose pictures a version holds.

    Raises:
        TrustError: it was altered.
        DataError: it can't be read.
    """
    table = version.table(version.key(site_secret))
    return frozenset(Pseudonym(whole_hex(patient)) for patient in table.rows_N["patient"].tolist())


def holds(version: Version, patients: Set[Pseudonym], site_secret: bytes) -> bool:
    """Tell whether a version has a picture of one of the patients; see `patients_of` for what is raised."""
    return not version.erased and bool(patients_of(version, site_secret) & patients)


def erase(version: Version) -> None:
    """Delete what is in a version but its manifest; done in part, it is done again.

    Raises:
        MachineError: the disk refuses.
    """
    try:
        for name in CONTENTS:  # the table last: as long as it is there, the version isn't erased
            (version.path / name).unlink(missing_ok=True)
        sync_folder(version.path)
    except OSError as error:
        raise MachineError(f"{version.path}: can't be deleted ({error.strerror})") from None
