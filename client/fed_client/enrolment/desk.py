"""Calls the coordinator's enrolment desk; what it says is believed only over a line to the pinned CA."""

import ssl
from contextlib import suppress

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fed_common import canonical
from fed_common.errors import FedError, MachineError, MalformedMessageError, TrustError
from fed_common.names import Digest
from fed_common.pki.certificates import fingerprint
from fed_common.pki.enrolment import DESK_PREFIX, Admission

TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 1 << 16


class NotReachedError(MachineError):
    """The desk can't be reached now, or has no time; later may be better."""


def fetch_ca(address: str, expected: Digest) -> x509.Certificate:
    """Return the CA's certificate.

    The line is not yet to be trusted: nothing is told, and what comes must have the expected fingerprint.

    Raises:
        TrustError: somebody else answers.
        NotReachedError: nobody does.
    """
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    answer = _call(address, "ca", context=stranger, body=None)
    with suppress(ValueError):
        certificate = x509.load_pem_x509_certificate(answer.content)
        if fingerprint(certificate) == expected:
            return certificate
    raise TrustError(f"{address} has not the CA of the invitation; somebody may stand in between")


def ask(address: str, request: bytes, *, ca: x509.Certificate) -> Admission | None:
    """Return the admission, None while the request waits for a person.

    Raises:
        TrustError: the request is refused, or the server isn't one of the CA's.
        NotReachedError: the desk can't be reached.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca.public_bytes(Encoding.PEM).decode("ascii"))
    return _admission(_call(address, "request", context=context, body=request))


def renew(address: str, request: bytes, *, context: ssl.SSLContext) -> Admission | None:
    """Return the admission, None while it waits; `context` shows the certificate that is to be renewed.

    Raises:
        TrustError: the renewal is refused, or the server isn't one of the CA's.
        NotReachedError: the desk can't be reached.
    """
    return _admission(_call(address, "renewal", context=context, body=request))


def _call(address: str, path: str, *, context: ssl.SSLContext, body: bytes | None) -> httpx.Response:
    url = f"{address}{DESK_PREFIX}{path}"
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S) as client:
            answer = client.get(url) if body is None else client.post(url, content=body)
    except httpx.HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise TrustError(f"the certificate of {address} is not of the consortium's CA") from error
        raise NotReachedError(f"{address} can't be reached ({type(error).__name__})") from error
    if answer.status_code == httpx.codes.FORBIDDEN:
        raise TrustError(f"{address} refuses: {answer.text[:300]!r}")
    if answer.status_code not in (httpx.codes.OK, httpx.codes.ACCEPTED):
        raise NotReachedError(f"{address} has no time or no such desk (HTTP {answer.status_code})")
    return answer


def _admission(answer: httpx.Response) -> Admission | None:
    if answer.status_code == httpx.codes.ACCEPTED:
        return None
    try:
        return canonical.decode(answer.content[:_MAX_ANSWER_BYTES], Admission)
    except FedError as error:
        raise MalformedMessageError("the desk's answer is no certificate") from error
