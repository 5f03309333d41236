"""An archive that speaks DICOMweb: QIDO-RS to search, WADO-RS to fetch.

Instances are streamed with a bound and never parsed here: what the archive sends is as hostile as any file.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from fed_client.pacs.archive import MAX_INSTANCE_BYTES, ArchiveBusyError, InstanceRef, Query, is_uid, uid_of
from fed_client.pacs.config import PacsTable
from fed_common.errors import ConfigError, DataError, FedError, TrustError
from fed_common.signing import refuse_shared_key_file

TIMEOUT_S = 60.0
PAGE = 500
MAX_ANSWER_BYTES = 1 << 26

_JSON = {"Accept": "application/dicom+json"}
# As it is stored: no archive has to recompress, and nothing is lost. Source: DICOM PS3.18 8.7.3.5.
_AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
# Source: DICOM PS3.6.
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"


class DicomWebArchive:
    """The archive at one URL; open it with `DicomWebArchive.opened`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def opened(cls, table: PacsTable, here: Path) -> Iterator["DicomWebArchive"]:
        """Yield the archive of `table`, whose paths are relative to `here`.

        Raises:
            ConfigError: a certificate or credential can't be read.
            TrustError: others can read the credential.
        """
        headers: dict[str, str] = {}
        if table.token_file:
            headers["Authorization"] = f"Bearer {_secret(here / table.token_file)}"
        auth = (
            httpx.BasicAuth(table.user, _secret(here / table.password_file)) if table.password_file else None
        )
        with httpx.Client(
            base_url=table.url.rstrip("/") + "/",
            headers=headers,
            auth=auth,
            verify=_tls(here / table.ca if table.ca else None),
            timeout=TIMEOUT_S,
            follow_redirects=False,
        ) as client:
            yield cls(client)

    def studies(self, query: Query) -> Iterator[str]:
        """Yield the UIDs of the studies that match. Source: DICOM PS3.18 10.6."""
        for name in query.studies or ("",):
            seen: set[str] = set()
            for modality in query.modalities or ("",):
                filters = {
                    "StudyInstanceUID" if is_uid(name) else "AccessionNumber": name,
                    "ModalitiesInStudy": modality,
                    "StudyDate": query.date_range,
                }
                for found in self._search("studies", filters):
                    study = _value(found, _STUDY)
                    if study not in seen:
                        seen.add(study)
                        yield study

    def instances(self, study: str, query: Query) -> list[InstanceRef]:
        """Return the instances of a study that match, series by series."""
        found: list[InstanceRef] = []
        for modality in query.modalities or ("",):
            filters = {"Modality": modality, "BodyPartExamined": query.body_part}
            for entry in self._search(f"studies/{study}/series", filters):
                series = _value(entry, _SERIES)
                found += [
                    InstanceRef(study=study, series=series, instance=_value(instance, _INSTANCE))
                    for instance in self._search(f"studies/{study}/series/{series}/instances", {})
                ]
        return found

    def fetch(self, instance: InstanceRef) -> bytes:
        """Return one instance. Source: DICOM PS3.18 10.4, RFC 2387 (multipart/related)."""
        path = f"studies/{instance.study}/series/{instance.series}/instances/{instance.instance}"
        content_type, body = self._get(path, {}, _AS_STORED, limit=MAX_INSTANCE_BYTES)
        return _only_part(content_type, body)

    def _search(self, path: str, filters: Mapping[str, str]) -> Iterator[dict[str, object]]:
        """Yield all matches, page by page."""
        given = {name: value for name, value in filters.items() if value}
        offset = 0
        while True:
            paging = {"limit": str(PAGE), "offset": str(offset)}
            _, body = self._get(path, given | paging, _JSON, limit=MAX_ANSWER_BYTES)
            page = _matches(body)
            yield from page
            if len(page) < PAGE:
                return
            offset += len(page)

    def _get(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str], *, limit: int
    ) -> tuple[str, bytes]:
        with (
            _network_errors(),
            self._client.stream("GET", path, params=parameters, headers=headers) as answer,
        ):
            if answer.status_code == httpx.codes.NO_CONTENT:
                return "", b""
            _check(answer)
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > limit:
                    raise DataError(f"the archive's answer has more than {limit} bytes")
            return answer.headers.get("Content-Type", ""), bytes(body)


def _matches(body: bytes) -> list[dict[str, object]]:
    try:
        page = json.loads(body or b"[]")
    except ValueError:
        page = None
    if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
        raise DataError("the archive's answer to a search is no list of matches")
    return page


def _value(entry: dict[str, object], tag: str) -> str:
    """Return the UID under `tag`. Source: DICOM PS3.18 F.2 (JSON model)."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return uid_of(values[0] if isinstance(values, list) and values else None)


def _only_part(content_type: str, body: bytes) -> bytes:
    """Return what stands between the first two boundaries, behind the part's own headers."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    named = dict(part.partition("=")[::2] for part in parameters)
    boundary = b"--" + named.get("boundary", "").strip('"').encode()
    start = body.find(boundary)
    head = body.find(b"\r\n\r\n", start)
    end = body.find(b"\r\n" + boundary, head)
    if kind.lower() != "multipart/related" or len(boundary) == 2 or min(start, head, end) < 0:
        raise DataError("the archive's answer is no multipart/related with one instance")
    return body[head + 4 : end]


@contextmanager
def _network_errors() -> Iterator[None]:
    """Turn what httpx raises into what a person can act on; URLs hold UIDs, so none is repeated."""
    try:
        yield
    except FedError:
        raise
    except httpx.TransportError as error:
        if isinstance(error.__cause__ or error, ssl.SSLError) or "CERTIFICATE" in str(error).upper():
            raise TrustError(
                "the archive's certificate isn't signed by pacs.ca, or is another host's"
            ) from None
        raise ArchiveBusyError(f"the archive can't be reached ({type(error).__name__})") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise DataError(f"the archive's answer can't be understood ({type(error).__name__})") from None


def _check(answer: httpx.Response) -> None:
    match answer.status_code:
        case httpx.codes.OK | httpx.codes.PARTIAL_CONTENT:
            return
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            raise TrustError(f"the archive refuses our credentials (HTTP {answer.status_code})")
        case httpx.codes.TOO_MANY_REQUESTS:
            raise ArchiveBusyError("the archive asks for a pause (HTTP 429)")
        case status if status >= 500:
            raise ArchiveBusyError(f"the archive fails (HTTP {status})")
        case status:
            raise DataError(f"the archive refuses the request (HTTP {status})")


def _tls(ca: Path | None) -> ssl.SSLContext:
    """Return a context that trusts `ca` and nobody else, or the machine's own list without one."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca}: not a PEM certificate that can be read") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _secret(path: Path) -> str:
    try:
        refuse_shared_key_file(path)
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({type(error).__name__})") from None
