"""The enrolment desk: the only part of the port that answers a caller without a site's certificate.

    GET  ca         the CA's certificate, which the caller compares with the fingerprint of its invitation
    POST request    to be enrolled, or to ask whether it was approved
    POST renewal    to have a certificate renewed, over a connection with the one that is in force

A request that is taken in is answered with 202 while it waits for a person, with 200 and the certificate
once it is granted, and with 403 and a line that says why not.
"""

import logging
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from fed_common import canonical
from fed_common.errors import FedError, MachineError, TrustError
from fed_common.pki.enrolment import DESK_PREFIX, Admission
from fed_common.signing import VerifyingKey
from fed_server.authority.authority import Authority
from fed_server.door.connections import CERTIFICATE, Refuse
from fed_server.door.guard import Guard
from fed_server.registry.admission import Admissions
from fed_server.registry.standing import Standing

logger = logging.getLogger(__name__)

# For all strangers together. Ten hospitals that wait ask twice a second; guessing takes other numbers.
REQUESTS_PER_S, BURST = 5.0, 40.0


@dataclass
class Allowance:
    """How many more requests are answered now; it grows with time, up to a burst."""

    left: float = BURST
    at: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        """Tell whether one more request may be answered."""
        now = time.monotonic()
        self.left = min(BURST, self.left + (now - self.at) * REQUESTS_PER_S)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Takes requests to the register; with an `authority`, which holds the CA's key, renewals are granted."""

    admissions: Admissions
    guard: Guard
    coordinator: VerifyingKey
    authority: Authority | None
    refuse: Refuse
    allowance: Allowance = field(default_factory=Allowance)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        certificate = request.scope["state"][CERTIFICATE]
        if certificate is None and not self.allowance.take():
            self.refuse("too-many-requests", certificate)
            return PlainTextResponse("too many requests; try later", status_code=429)
        match request.method, request.url.path.removeprefix(DESK_PREFIX):
            case "GET", "ca":
                return Response(self.admissions.ca.public_bytes(Encoding.PEM))
            case "POST", ("request" | "renewal") as wish:
                try:
                    return await run_in_threadpool(self._decide, await request.body(), wish, certificate)
                except MachineError as error:  # its text is for the operator: it names files
                    logger.error("%s can't be taken in: %s", wish, error)
                    return PlainTextResponse("the desk's disk is in the way; try later", status_code=503)
                except FedError as error:
                    logger.warning("%s refused: %s", wish, error)
                    self.refuse("enrolment-refused", certificate)
                    return PlainTextResponse(str(error), status_code=403)
            case _:
                return PlainTextResponse("not here", status_code=404)

    def _decide(self, raw: bytes, wish: str, certificate: bytes | None) -> Response:
        if wish == "request":
            return self._told(self.admissions.ask(raw))
        if certificate is None:
            raise TrustError("a renewal needs the certificate that it renews")
        caller = self.guard.caller(certificate).site
        return self._told(self.admissions.renew(raw, caller, self.authority))

    def _told(self, standing: Standing) -> Response:
        if standing.request is not None:
            logger.info(
                "%s waits for `fed-server approve`; its words: %s", standing.site, standing.request.words
            )
            return PlainTextResponse("waiting for approval", status_code=202)
        admission = Admission(
            certificate=standing.certificates[-1], coordinator=self.coordinator.pem.decode("ascii")
        )
        return Response(canonical.encode(admission))
