"""Copies from the last version what its files still say: adding a file doesn't read all others again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fed_client.dataset.collecting import Collector
from fed_client.dataset.labelling import ListedPatient
from fed_client.dataset.manifest import READER
from fed_client.dataset.sealing import VersionKey
from fed_client.dataset.source import Source
from fed_client.dataset.table import NAMED_BY, NamedBy, Table
from fed_client.dataset.versions import Version
from fed_client.deidentification import Pseudonym, keyed_digest, normalise
from fed_client.images import TextDetector
from fed_common.names import Digest
from fed_common.task import Task


@dataclass(frozen=True, kw_only=True, repr=False)  # pseudonyms
class Known:
    """A version whose pictures can be taken over, file by file."""

    version: Version
    key: VersionKey
    table: Table
    # By the files' digests: where a row of each is, which says whose all pictures of the file are.
    place_of: Mapping[str, int]
    site_secret: bytes
    withdrawn: frozenset[Pseudonym]

    def holds(self, file: Digest, listed_patient: ListedPatient) -> bool:
        """Tell whether all pictures of the file are there, under the patient that is listed now."""
        place = self.place_of.get(file)
        if place is None:
            return False
        row = self.table.rows_N[place]
        if whole_hex(row["patient"]) in self.withdrawn:
            return False
        listed = normalise(listed_patient(Digest(whole_hex(row["origin"]))))
        named_by: NamedBy = NAMED_BY[row["named_by"]]
        match named_by:
            case "header":
                return True
            case "list":
                return whole_hex(row["patient"]) == listed_pseudonym(listed, self.site_secret)
            case "nobody":
                return not listed

    def copy(self, numbers_of: Mapping[str, Sequence[int]], collector: Collector) -> None:
        """Hand the pictures of the files over, in the order they are stored."""
        if not numbers_of:
            return
        for row, picture in zip(self.table.rows_N, self.version.rows(self.key), strict=True):
            for number in numbers_of.get(whole_hex(row["file"]), ()):
                collector.copy(number, row, picture, self.table)


def known_of(
    last: Version | None, source: Source, *, task: Task, secret: bytes, detector: TextDetector
) -> Known | None:
    """Return what can be copied from the last version: nothing if it was made in another way.

    Raises:
        TrustError: it was altered.
    """
    if last is None or last.erased:
        return None
    made = last.manifest
    as_today = (task.digest, detector, source.defacing_attested, source.file_is_patient, READER)
    if (made.task, made.detector, made.defacing_attested, made.file_is_patient, made.reader) != as_today:
        return None
    key = last.key(secret)
    whole = {file.digest for file in last.names(key).files if file.whole}
    table = last.table(key)
    return Known(
        version=last,
        key=key,
        table=table,
        place_of={
            name: place
            for place, digest in enumerate(table.rows_N["file"].tolist())
            if (name := whole_hex(digest)) in whole
        },
        site_secret=secret,
        withdrawn=source.withdrawn,
    )


def listed_pseudonym(patient_id: str, site_secret: bytes) -> Digest:
    """Return the pseudonym of a patient whom only the list of labels names; see `deidentify`."""
    return keyed_digest(site_secret, "patient", normalise(patient_id), "")


def whole_hex(digest: bytes) -> str:
    """Return a digest of a row; numpy cuts off trailing zero bytes."""
    return bytes(digest).ljust(32, b"\0").hex()
