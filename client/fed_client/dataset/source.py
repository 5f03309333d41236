"""What a registration is given: where images and labels are, the site's keys, and who reads hostile files."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fed_client.dataset.manifest import LabelSource
from fed_client.dataset.split import Fractions
from fed_client.deidentification import Pseudonym
from fed_client.images import ReportFlaw, TextDetector
from fed_client.reading.pool import Outcome, ReaderPool, usable_cores
from fed_common.signing import SigningKey
from fed_common.task import Recipe

Progress = Callable[[int, int], None]


class Reader(Protocol):
    """Who reads hostile files; `ReaderPool` is the real one."""

    detector: TextDetector

    def read(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Yield what is in each file, in the order of `paths`."""


OpenReader = Callable[[Recipe], AbstractContextManager[Reader]]


def reading_processes(recipe: Recipe) -> AbstractContextManager[Reader]:
    """Start a reading process for each core."""
    return ReaderPool.opened(recipe, num_workers=usable_cores())


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a hospital's images and labels are, and how its patients are dealt out.

    `labels` is the list of labels; nothing is looked for there if `labels_from` says otherwise. A file for
    which nobody is named is refused, unless `file_is_patient`: then it is a patient of its own. Of
    reports with flaws only those are used whose flaws are all in `accept_reports`. Of patients in `withdrawn`
    nothing is taken.
    """

    images: Path
    labels: Path
    fractions: Fractions
    labels_from: LabelSource = "list"
    file_is_patient: bool = False
    accept_reports: tuple[ReportFlaw, ...] = ()
    defacing_attested: bool = False
    withdrawn: frozenset[Pseudonym] = frozenset()


@dataclass(frozen=True, kw_only=True, repr=False)
class SiteKeys:
    """What the site signs with, and the secret behind pseudonyms and encryption."""

    identity: SigningKey
    secret: bytes
