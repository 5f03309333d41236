"""Fetches every instance once, whatever interrupts it, at a pace that leaves the archive to the clinic.

An instance is a file named by the digest of its UID, written as a whole; a study is written down as done when
all of its instances are there. So after a crash the work goes on where it was: files that are there are not
fetched again, and no study is forgotten.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fed_client.pacs.archive import Archive, ArchiveBusyError, InstanceRef, Query
from fed_common.errors import DataError, MachineError
from fed_common.files import append_durably, exclusive, write_atomically
from fed_common.names import digest_of

logger = logging.getLogger(__name__)

TRIES = 4
FIRST_PAUSE_S = 1.0

_PREAMBLE_END = 132

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """How far it has come; `bytes` are those of this time."""

    studies: int
    studies_done: int
    fetched: int
    present: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast an archive may be asked; `sleep` and `clock` are the system's but for tests."""

    max_per_minute: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def pull(archive: Archive, query: Query, *, out: Path, journal: Path, pace: Pace) -> Iterator[Pulled]:
    """Fetch what matches into `out` and yield after each instance and each study.

    Raises:
        DataError: nothing matches, or the archive's answers make no sense.
        MachineError: the archive stays unreachable, the disk refuses, or another pull is running.
        TrustError: the archive doesn't let us in.
    """
    with exclusive(journal.parent, owner="fed-client data pull"):
        done = _done(journal)
        studies = list(_patiently(lambda: list(archive.studies(query)), pace))
        if not studies:
            raise DataError("nothing in the archive matches the query")
        counts = Pulled(studies=len(studies), studies_done=0, fetched=0, present=0, bytes=0)
        metronome = _Metronome(pace)
        for study in studies:
            if digest_of(study.encode()) not in done:
                for progress in _pull_study(archive, study, query, out, counts, metronome):
                    counts = progress
                    yield counts
                append_durably(journal, json.dumps({"study": digest_of(study.encode())}).encode() + b"\n")
            counts = replace(counts, studies_done=counts.studies_done + 1)
            yield counts


def path_of(out: Path, instance: InstanceRef) -> Path:
    """Return where an instance is written: digests, because a UID leads to a person."""
    study, name = digest_of(instance.study.encode()), digest_of(instance.instance.encode())
    return out / study[:16] / f"{name[:32]}.dcm"


def _pull_study(
    archive: Archive, study: str, query: Query, out: Path, counts: Pulled, metronome: "_Metronome"
) -> Iterator[Pulled]:
    for instance in _patiently(lambda: archive.instances(study, query), metronome.pace):
        path = path_of(out, instance)
        if _is_whole(path):
            counts = replace(counts, present=counts.present + 1)
        else:
            metronome.wait()
            contents = _patiently(lambda: archive.fetch(instance), metronome.pace)  # noqa: B023 (called at once)
            if contents[128:_PREAMBLE_END] != b"DICM":
                raise DataError("the archive sent something that is no DICOM file")
            write_atomically(path, contents)
            counts = replace(counts, fetched=counts.fetched + 1, bytes=counts.bytes + len(contents))
        yield counts


def _is_whole(path: Path) -> bool:
    """Tell whether the file is there; files are renamed into place, so one that is there is whole."""
    return path.is_file() and not path.is_symlink()


def _done(journal: Path) -> set[str]:
    try:
        lines = journal.read_bytes().split(b"\n")
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise MachineError(f"{journal}: can't be read ({error.strerror})") from error
    done: set[str] = set()
    for line in lines:
        try:
            done.add(json.loads(line)["study"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a crash: that study is looked at again
    return done


def _patiently(ask: Callable[[], Answer], pace: Pace) -> Answer:
    """Return the answer; an archive that is busy is asked again after a pause, twice as long each time."""
    for number in range(1, TRIES):
        try:
            return ask()
        except ArchiveBusyError as error:
            pause_s = FIRST_PAUSE_S * 2 ** (number - 1)
            logger.warning("%s; asking again in %g s", error, pause_s)
            pace.sleep(pause_s)
    return ask()


class _Metronome:
    """Waits so that not more than so many instances are asked for in a minute."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._next = pace.clock()

    def wait(self) -> None:
        if self.pace.max_per_minute is None:
            return
        now = self.pace.clock()
        if now < self._next:
            self.pace.sleep(self._next - now)
        self._next = max(now, self._next) + 60 / self.pace.max_per_minute
