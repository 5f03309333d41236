"""What is asked of an archive, whichever language it speaks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fed_common.errors import DataError, MachineError

MAX_INSTANCE_BYTES = 1 << 30

# Source: DICOM PS3.5 9.1 (at most 64 characters: digits and dots).
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which images are wanted; empty means any.

    Dates are written YYYYMMDD. `studies` are study instance UIDs or accession numbers.
    """

    modalities: tuple[str, ...] = ()
    body_part: str = ""
    first_day: str = ""
    last_day: str = ""
    studies: tuple[str, ...] = ()

    @property
    def date_range(self) -> str:
        """Return the days as DICOM writes a range, empty for all. Source: DICOM PS3.4 C.2.2.2.5."""
        return f"{self.first_day}-{self.last_day}" if self.first_day or self.last_day else ""


@dataclass(frozen=True, kw_only=True, repr=False)  # a UID leads to a person
class InstanceRef:
    """Where an instance is in the archive."""

    study: str
    series: str
    instance: str


class Archive(Protocol):
    """An archive that is asked for one thing at a time; it raises what its caller can act on.

    Every method raises MachineError if the archive can't be reached, TrustError if it doesn't let us in.
    """

    def studies(self, query: Query) -> Iterator[str]:
        """Yield the UIDs of the studies that match."""
        ...

    def instances(self, study: str, query: Query) -> list[InstanceRef]:
        """Return the instances of a study that match."""
        ...

    def fetch(self, instance: InstanceRef) -> bytes:
        """Return an instance as a DICOM file, byte by byte as the archive gives it."""
        ...


def uid_of(text: object) -> str:
    """Return a UID that can stand in a URL or a request.

    Raises:
        DataError: the archive calls something a UID that is none.
    """
    if not isinstance(text, str) or len(text) > 64 or not _UID.fullmatch(text):
        raise DataError("the archive answered with a UID that is none")
    return text


def is_uid(text: str) -> bool:
    """Tell a UID from an accession number, which may consist of digits alone."""
    return "." in text and len(text) <= 64 and _UID.fullmatch(text) is not None


class ArchiveBusyError(MachineError):
    """The archive failed in a way that may pass; the same request is tried again."""
