"""Takes what is read from files, one at a time, and keeps pictures encrypted and rows of a few bytes.

Copied rows of an earlier version go the same way, so that a version is the same however it came about.
"""

from dataclasses import replace

import numpy as np

from fed_client.dataset.duplicates import look
from fed_client.dataset.labelling import ListedPatient, origin_of
from fed_client.dataset.sealing import Spool
from fed_client.dataset.source import Source
from fed_client.dataset.split import side_of
from fed_client.dataset.table import (
    NAMED_BY,
    Acquisition,
    Digests,
    Made,
    NamedBy,
    Table,
    TableBuilder,
    raw_digest,
)
from fed_client.deidentification import DeidentifiedImage, Pseudonym, deidentify, normalise
from fed_client.images import Finding, PreparedImage
from fed_client.reading.pool import Outcome, Unreadable
from fed_common.errors import UnreadableImageError
from fed_common.greys import stored
from fed_common.names import Digest
from fed_common.task import Task

UNUSED = "a report, and labels don't come from reports"
WITHDRAWN = "the patient withdrew"
EMPTY = "the file holds no image and no finding"


class Collector:
    """Rows and pictures of the version in the making, in the order they came."""

    def __init__(self, spool: Spool, *, task: Task, key: bytes, source: Source) -> None:
        self._spool = spool
        self._task = task
        self._key = key
        self._source = source
        self._rows = TableBuilder()
        self.findings: list[Finding] = []
        self.reasons_of: dict[int, list[str]] = {}

    def take(self, number: int, outcome: Outcome, *, file: Digest, listed_patient: ListedPatient) -> None:
        """Take what was read from file `number`; the listed patient stands in where it names nobody."""
        if isinstance(outcome, Unreadable):
            self.leave_out(number, outcome.reason)
            return
        if not outcome:
            self.leave_out(number, EMPTY)
        for item in outcome:
            match item:
                case Finding() if self._source.labels_from != "reports":
                    self.leave_out(number, UNUSED)
                    return
                case Finding(flaws=flaws) if not set(flaws) <= set(self._source.accept_reports):
                    self.leave_out(number, f"the report is {', '.join(flaws)}")
                    return
                case Finding(sop_instance_uid=uid):
                    self.findings.append(replace(item, sop_instance_uid=origin_of(uid, self._key)))
                case PreparedImage():
                    try:
                        self._take_picture(number, item, file=file, listed_patient=listed_patient)
                    except UnreadableImageError as error:
                        self.leave_out(number, str(error))

    def copy(self, number: int, row: np.void, picture: bytes, table: Table) -> None:
        """Take a row of an earlier version with its picture."""
        made = Made(
            acquisition=table.acquisitions[row["acquisition"]],
            codes=table.codes[row["codes"]],
            named_by=NAMED_BY[row["named_by"]],
        )
        patient = bytes(row["patient"]).ljust(32, b"\0")
        self._spool.append(picture)
        self._rows.add(
            Digests(patient, row["origin"], row["instance"], row["pixels"], row["file"]),
            look=int(row["look"]),
            number=number,
            frame=int(row["frame"]),
            side=side_of(Pseudonym(patient.hex()), self._source.fractions, self._key),
            made=made,
        )

    def leave_out(self, number: int, reason: str) -> None:
        """Write down why file `number`, or a picture of it, isn't used."""
        self.reasons_of.setdefault(number, []).append(reason)

    def table(self) -> Table:
        """Return the rows in the order they came, which is that of the pictures in the spool."""
        return self._rows.table()

    def _take_picture(
        self, number: int, image: PreparedImage, *, file: Digest, listed_patient: ListedPatient
    ) -> None:
        origin = origin_of(image.facts.sop_instance_uid, self._key)
        listed = listed_patient(origin)
        clean = deidentify(
            image,
            self._key,
            patient_id=listed,
            file_is_patient=self._source.file_is_patient,
            defacing_attested=self._source.defacing_attested,
        )
        self._refuse_other_kinds(clean)
        if clean.patient in self._source.withdrawn:
            raise UnreadableImageError(WITHDRAWN)
        self._spool.append(stored(clean.grey_CHW).tobytes())
        self._rows.add(
            Digests(
                patient=raw_digest(clean.patient),
                origin=raw_digest(origin),
                instance=raw_digest(clean.instance),
                pixels=raw_digest(clean.pixels),
                file=raw_digest(file),
            ),
            look=look(clean.grey_CHW),
            number=number,
            frame=clean.frame,
            side=side_of(clean.patient, self._source.fractions, self._key),
            made=Made(
                acquisition=_acquisition(clean),
                codes=clean.codes,
                named_by=_named_by(image.facts.patient_id, listed),
            ),
        )

    def _refuse_other_kinds(self, image: DeidentifiedImage) -> None:
        if self._task.modalities and image.modality not in self._task.modalities:
            raise UnreadableImageError("another modality than the task's")
        if self._task.views and image.view not in self._task.views:
            raise UnreadableImageError("another view than the task's, or none stated")


def _named_by(patient_id: str, listed: str) -> NamedBy:
    if normalise(patient_id):
        return "header"
    return "list" if normalise(listed) else "nobody"


def _acquisition(image: DeidentifiedImage) -> Acquisition:
    longer = max(image.rows, image.columns)
    smallest = 1 << (longer.bit_length() - 1)
    return Acquisition(
        modality=image.modality,
        view=image.view,
        body_part=image.body_part,
        photometric=image.photometric,
        transfer_syntax=image.transfer_syntax,
        bits_stored=image.bits_stored,
        # An exact size could tell a machine, and so a ward, from all others.
        size=f"{smallest} to {2 * smallest - 1}",
    )
