"""Makes the draft of a version out of files: lists, copies, reads, labels and orders; it writes nothing."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fed_client.dataset.collecting import Collector
from fed_client.dataset.copying import known_of
from fed_client.dataset.draft import Draft, make_draft
from fed_client.dataset.files import FileState, FoundFile, is_still, list_files, state_of
from fed_client.dataset.labelling import Labels
from fed_client.dataset.sealing import Spool
from fed_client.dataset.source import Progress, Reader, Source
from fed_client.dataset.versions import Version
from fed_client.deidentification import keyed_digest
from fed_common.task import Task

CHANGED = "the file is a link, can't be read, or changed while it was read"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Making:
    """One registration, from the list of files to the draft of a version."""

    source: Source
    task: Task
    secret: bytes
    last: Version | None
    labels: Labels
    reader: Reader

    def read(self, spool: Spool, on_image: Progress | None = None) -> Draft:
        """Return the draft; its pictures are in `spool`.

        Raises:
            DataError: there are no files.
        """
        tell = on_image or _unheard
        files = list_files(self.source.images)
        key = file_key(self.secret)
        states = [state_of(file.path, key) for file in files]  # step 1
        collector = Collector(
            spool,
            task=self.task,
            key=self.secret,
            source=self.source,
        )
        to_read = self._sort_out(files, states, collector)
        done = len(files) - len(to_read)
        if done:
            tell(done, len(files))
        outcomes = self.reader.read(files[number].path for number in to_read)  # step 2
        for number, outcome in zip(to_read, outcomes, strict=True):
            file, state = files[number], states[number]
            if state is None or not is_still(file.path, state):
                collector.leave_out(number, CHANGED)
            else:
                collector.take(
                    number,
                    outcome,
                    file=state.digest,
                    listed_patient=partial(self.labels.listed_patient, file),
                )
            done += 1
            tell(done, len(files))
        labels = self.labels.assign(collector.table(), files, collector.findings)  # step 3
        return make_draft(  # step 4
            files, states, collector=collector, labels=labels, spool=spool, recipe=self.task.recipe
        )

    def _sort_out(
        self, files: list[FoundFile], states: list[FileState | None], collector: Collector
    ) -> list[int]:
        """Leave out what has no label, copy what the last version holds, and return what is to be read."""
        known = known_of(
            self.last, self.source, task=self.task, secret=self.secret, detector=self.reader.detector
        )
        to_read: list[int] = []
        to_copy: dict[str, list[int]] = {}
        for number, (file, state) in enumerate(zip(files, states, strict=True)):
            refusal = self.labels.refusal(file)
            if refusal:
                collector.leave_out(number, refusal)
            elif (
                known is not None
                and state
                and known.holds(state.digest, partial(self.labels.listed_patient, file))
            ):
                to_copy.setdefault(state.digest, []).append(number)
            else:
                to_read.append(number)
        if known is not None:
            known.copy(to_copy, collector)
        return to_read


def file_key(secret: bytes) -> bytes:
    """Return the key of the files' digests."""
    return bytes.fromhex(keyed_digest(secret, "files"))


def spool_of(folder: Path, task: Task) -> Spool:
    """Return a spool for pictures of the task."""
    return Spool(folder, record_bytes=2 * task.recipe.channels * task.recipe.size**2)


def _unheard(done: int, total: int) -> None:
    pass
