"""An archive that speaks DIMSE: C-FIND to search, C-GET or C-MOVE to fetch, one instance at a time.

C-GET needs no open port: the images come back on the line that asked for them. C-MOVE makes the archive call
us, so it needs a port here and our name in its list; it is for archives that know nothing else.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom import Dataset, uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.status import STATUS_PENDING, STATUS_SUCCESS, code_to_category

from fed_client.pacs.archive import MAX_INSTANCE_BYTES, ArchiveBusyError, InstanceRef, Query, is_uid, uid_of
from fed_client.pacs.config import PacsTable
from fed_client.reading.terms import MODALITY_OF_CLASS, SYNTAX_NAMES
from fed_common.errors import ConfigError, MachineError, TrustError

TIMEOUT_S = 60.0

# Study Root Query/Retrieve. Source: DICOM PS3.4 C.6.2.
_FIND = uid.UID("1.2.840.10008.5.1.4.1.2.2.1")
_MOVE = uid.UID("1.2.840.10008.5.1.4.1.2.2.2")
_GET = uid.UID("1.2.840.10008.5.1.4.1.2.2.3")
_SUCCESS = 0x0000
# Deflated and big-endian files have all but died out; the others are what archives store.
_SYNTAXES = [syntax for syntax in SYNTAX_NAMES if syntax != uid.ExplicitVRBigEndian]
_REPORTS = (uid.BasicTextSRStorage, uid.EnhancedSRStorage, uid.ComprehensiveSRStorage)
STORED_CLASSES = (*MODALITY_OF_CLASS, *_REPORTS)


class DimseArchive:
    """The archive at one host and port; open it with `DimseArchive.opened`."""

    def __init__(self, table: PacsTable, connect: Callable[[], Association], inbox: "Inbox") -> None:
        self._table = table
        self._connect = connect
        self._inbox = inbox
        self._line: Association | None = None

    @classmethod
    @contextmanager
    def opened(cls, table: PacsTable, here: Path) -> Iterator["DimseArchive"]:
        """Yield the archive of `table`, whose paths are relative to `here`.

        Raises:
            ConfigError: the CA's certificate can't be read.
            MachineError: our own port for C-MOVE is taken.
        """
        inbox = Inbox()
        ours = AE(ae_title=table.calling_ae)
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = ours.connection_timeout = TIMEOUT_S
        ours.maximum_pdu_size = 1 << 18
        tls = _client_tls(here / table.ca) if table.ca else None
        with ExitStack() as stack:
            if table.method == "move":
                stack.enter_context(_receiving(ours, table, inbox, tls=table.ca is not None))
            archive = cls(table, lambda: _associate(ours, table, inbox, tls), inbox)
            stack.callback(archive.close)
            yield archive

    def close(self) -> None:
        """End the conversation."""
        if self._line is not None and self._line.is_established:
            self._line.release()
        self._line = None

    def studies(self, query: Query) -> Iterator[str]:
        """Yield the UIDs of the studies that match. Source: DICOM PS3.4 C.4.1, C.6.2.1."""
        for name in query.studies or ("",):
            seen: set[str] = set()
            for modality in query.modalities or ("",):
                wanted = Dataset()
                wanted.QueryRetrieveLevel = "STUDY"
                wanted.StudyInstanceUID = name if is_uid(name) else ""
                wanted.AccessionNumber = "" if is_uid(name) else name
                wanted.ModalitiesInStudy = modality
                wanted.StudyDate = query.date_range
                for found in self._find(wanted):
                    study = uid_of(found.get("StudyInstanceUID"))
                    if study not in seen:
                        seen.add(study)
                        yield study

    def instances(self, study: str, query: Query) -> list[InstanceRef]:
        """Return the instances of a study that match, series by series."""
        found: list[InstanceRef] = []
        for modality in query.modalities or ("",):
            wanted = Dataset()
            wanted.QueryRetrieveLevel = "SERIES"
            wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study, ""
            wanted.Modality, wanted.BodyPartExamined = modality, query.body_part
            for entry in self._find(wanted):
                found += self._instances_of(study, uid_of(entry.get("SeriesInstanceUID")))
        return found

    def _instances_of(self, study: str, series: str) -> list[InstanceRef]:
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID, wanted.SOPInstanceUID = study, series, ""
        return [
            InstanceRef(study=study, series=series, instance=uid_of(entry.get("SOPInstanceUID")))
            for entry in self._find(wanted)
        ]

    def fetch(self, instance: InstanceRef) -> bytes:
        """Return one instance. Source: DICOM PS3.4 C.4.2 (C-MOVE), C.4.3 (C-GET)."""
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = instance.study, instance.series
        wanted.SOPInstanceUID = instance.instance
        self._inbox.expect(instance.instance)
        line = self._established()
        if self._table.method == "move":
            answers = line.send_c_move(wanted, self._table.calling_ae, _MOVE)
        else:
            answers = line.send_c_get(wanted, _GET)
        for status, _ in answers:
            self._check(status)
        return self._inbox.take()

    def _find(self, wanted: Dataset) -> list[Dataset]:
        """Return all answers: a line holds one conversation, so this one ends before the next begins."""
        found: list[Dataset] = []
        for status, match in self._established().send_c_find(wanted, _FIND):
            self._check(status)
            if match is not None:
                found.append(match)
        return found

    def _check(self, status: Dataset) -> None:
        """Return if the answer is one that goes on or ends well. Source: DICOM PS3.7 annex C."""
        if "Status" not in status:
            self._line = None
            raise ArchiveBusyError("the archive ended the conversation")
        if code_to_category(status.Status) not in (STATUS_PENDING, STATUS_SUCCESS):
            raise ArchiveBusyError(f"the archive fails (DIMSE status 0x{status.Status:04X})")

    def _established(self) -> Association:
        if self._line is None or not self._line.is_established:
            self._line = self._connect()
        return self._line


class Inbox:
    """Takes the one instance that was asked for, as bytes; anything else is refused."""

    def __init__(self) -> None:
        self._expected = ""
        self._received: bytes | None = None

    def expect(self, instance: str) -> None:
        """Open the inbox for one instance."""
        self._expected, self._received = instance, None

    def take(self) -> bytes:
        """Return what came.

        Raises:
            ArchiveBusyError: nothing came.
        """
        received, self._received, self._expected = self._received, None, ""
        if received is None:
            raise ArchiveBusyError("the archive didn't send the instance it was asked for")
        return received

    def on_store(self, event: Event) -> int:
        """Take an instance as it came; it isn't parsed. Source: DICOM PS3.4 B.2.3 (status codes)."""
        if str(getattr(event.request, "AffectedSOPInstanceUID", "")) != self._expected:
            return 0xA900  # not what was asked for
        received = event.encoded_dataset()
        if len(received) > MAX_INSTANCE_BYTES:
            return 0xA700  # out of resources
        self._received = received
        return _SUCCESS


def _associate(ours: AE, table: PacsTable, inbox: Inbox, tls: ssl.SSLContext | None) -> Association:
    contexts = [build_context(_FIND)]
    roles = []
    if table.method == "move":
        contexts.append(build_context(_MOVE))
    else:
        contexts.append(build_context(_GET))
        contexts += [build_context(kind, _SYNTAXES) for kind in STORED_CLASSES]
        roles = [build_role(kind, scp_role=True) for kind in STORED_CLASSES]
    line = ours.associate(
        table.host,
        table.port,
        contexts=contexts,
        ae_title=table.called_ae,
        ext_neg=[*roles],
        evt_handlers=[(evt.EVT_C_STORE, inbox.on_store)],
        tls_args=None if tls is None else (tls, table.host),
    )
    if line.is_rejected:
        raise TrustError("the archive doesn't know our calling_ae, or isn't the called_ae")
    if not line.is_established:
        raise ArchiveBusyError("the archive can't be reached, or doesn't speak DICOM as it should")
    return line


@contextmanager
def _receiving(ours: AE, table: PacsTable, inbox: Inbox, *, tls: bool) -> Iterator[None]:
    """Listen for what C-MOVE sends: on this machine alone, for the configuration allows nothing else yet."""
    if tls:
        raise ConfigError("pacs.method = 'move' with TLS is not there yet; use method = 'get'")
    for kind in STORED_CLASSES:
        ours.add_supported_context(kind, _SYNTAXES)
    try:
        ours.start_server(
            ("127.0.0.1", table.receive_port), block=False, evt_handlers=[(evt.EVT_C_STORE, inbox.on_store)]
        )
    except OSError as error:
        raise MachineError(f"port {table.receive_port} can't be listened on ({error.strerror})") from error
    try:
        yield
    finally:
        ours.shutdown()


def _client_tls(ca: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca}: not a PEM certificate that can be read") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
