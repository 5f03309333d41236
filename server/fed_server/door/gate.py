"""Refuses a request before its body is read, let alone parsed, unless an enrolled site makes it.

1. Its path is the fleet service's or the enrolment desk's; nothing else exists here.
2. For the fleet service, the connection's certificate is an enrolled site's, in force at this request.
3. The node key in Flower's header is the one that this site was approved with: a certificate of one site is
   of no use with the key of another. That the caller holds the node key is checked behind the gate.
4. The body has a length, and not too much of it.
"""

import logging
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fed_common.audit_log.facts import DoorCode
from fed_common.errors import FedError, TrustError
from fed_common.names import SiteName
from fed_common.pki.enrolment import DESK_PREFIX, MAX_REQUEST_BYTES, node_key_pem
from fed_server.door.connections import CERTIFICATE, Refuse
from fed_server.door.guard import Guard

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The service behind the gate; it hears of each site, with its node key as PEM, before its request."""

    app: ASGIApp
    prefix: str
    key_header: str
    max_body_bytes: int
    expect: Callable[[SiteName, bytes], None]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Stands before the fleet service, which may be absent, and the enrolment desk."""

    fleet: Fleet | None
    desk: ASGIApp
    guard: Guard
    refuse: Refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a status and a line."""
        headers, fleet, certificate = Headers(scope=scope), self.fleet, scope["state"][CERTIFICATE]
        if scope["path"].startswith(DESK_PREFIX):  # 1
            app, most = self.desk, MAX_REQUEST_BYTES
        elif fleet is not None and scope["path"].startswith(fleet.prefix):
            app, most = fleet.app, fleet.max_body_bytes
            try:
                self._let_in(fleet, certificate, headers)
            except _RefusedError as error:
                self.refuse(error.code, certificate)
                logger.warning("refused a request to %.40r: %s", scope["path"], error)
                await PlainTextResponse(str(error), status_code=403)(scope, receive, send)
                return
        else:
            self.refuse("unknown-path", certificate)
            await PlainTextResponse("not here", status_code=404)(scope, receive, send)
            return
        if (status := _length_refused(headers, most, method=scope["method"])) is not None:  # 4
            self.refuse("length-refused", certificate)
            app = PlainTextResponse(f"a body of at most {most} bytes, with its length", status_code=status)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.UNAUTHORIZED:
                self.refuse("login-refused", certificate)
            await send(message)

        await app(scope, receive, noting)

    def _let_in(self, fleet: Fleet, certificate: bytes | None, headers: Headers) -> None:
        if certificate is None:
            raise _RefusedError(
                "no-certificate", "a site's certificate is needed; `fed-client enroll` asks for one"
            )
        try:
            standing = self.guard.caller(certificate)  # 2
        except FedError as error:
            raise _RefusedError("certificate-refused", str(error)) from error
        if standing.keys is None:
            raise _RefusedError("certificate-refused", f"{standing.site} is not enrolled")
        node_key = node_key_pem(standing.keys.node_key)
        if headers.get(fleet.key_header) != b64encode(node_key).decode("ascii"):  # 3
            raise _RefusedError(
                "node-key-differs", f"not the node key that {standing.site} was approved with"
            )
        fleet.expect(standing.site, node_key)


class _RefusedError(TrustError):
    """Why a request isn't let in: a word for the audit log, and a line for the caller."""

    def __init__(self, code: DoorCode, line: str) -> None:
        super().__init__(line)
        self.code = code


def _length_refused(headers: Headers, most: int, *, method: str) -> int | None:
    length = headers.get("content-length", "0" if method == "GET" else "")
    if not length.isdecimal():
        return 411
    return 413 if int(length) > most else None
