"""Every open connection, with the certificate it came with: what is revoked is cut, and who dawdles is, too.

uvicorn shows an application no certificate and lets it close no connection, hence this protocol. Tried with
uvicorn 0.49: each caller gets a protocol, whose `connection_made` comes after the handshake, and whose
`app_state` becomes the request's state.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fed_common.audit_log.facts import DoorCode

logger = logging.getLogger(__name__)

# Whom the door turns away, with the certificate that was shown (DER), and why.
Refuse = Callable[[DoorCode, bytes | None], None]

# The key in a request's state: the caller's certificate as DER, None without one.
CERTIFICATE = "certificate"
# As long as asyncio waits for one.
HANDSHAKE_S = 60.0
# From the first byte of a request to its last; a site sends pieces of 4 MB.
SITE_REQUEST_S, STRANGER_REQUEST_S = 60.0, 10.0
MAX_PER_SITE, MAX_STRANGERS = 32, 64
WATCH_S = 1.0


@dataclass(frozen=True)
class Connections:
    """The open connections of one port; changed by its event loop only. `refuse` hears of those it closes."""

    refuse: Refuse
    _open: dict["GuardedProtocol", bytes | None] = field(default_factory=dict)

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "GuardedProtocol":
        """Return the protocol of a new connection; uvicorn calls this."""
        return GuardedProtocol(config, server_state, app_state, connections=self)

    def admit(self, protocol: "GuardedProtocol", certificate: bytes | None) -> bool:
        """Note the connection, unless its caller has too many."""
        most = MAX_STRANGERS if certificate is None else MAX_PER_SITE
        if Counter(self._open.values())[certificate] >= most:
            self.refuse("too-many-connections", certificate)
            return False
        self._open[protocol] = certificate
        return True

    def forget(self, protocol: "GuardedProtocol") -> None:
        """Note that the connection is closed."""
        self._open.pop(protocol, None)

    def cut(self, is_refused: Callable[[bytes], bool]) -> None:
        """Cut every connection whose certificate is refused; from any thread."""
        for protocol, certificate in list(self._open.items()):
            if certificate is not None and is_refused(certificate):
                logger.warning("a connection was cut: its certificate is no longer in force")
                self.refuse("connection-cut", certificate)
                protocol.cut()


class GuardedProtocol(HttpToolsProtocol):
    """HTTP on one connection, which is cut when a request takes too long to come."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._others = connections
        # Not a word is heard of a handshake that fails, only of one that ends well.
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(
            HANDSHAKE_S, connections.refuse, "handshake-failed", None
        )
        self._limit_s = STRANGER_REQUEST_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the certificate from the finished handshake."""
        self._stop_the_clock()
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.app_state = {**self.app_state, CERTIFICATE: certificate}
        super().connection_made(transport)
        if not self._others.admit(self, certificate):
            transport.abort()
            return
        self._limit_s = STRANGER_REQUEST_S if certificate is None else SITE_REQUEST_S
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._others.forget(self)
        self._stop_the_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the clock, unless it runs since the connection was made."""
        super().on_message_begin()
        if self._deadline is None:
            self._expect_request()

    def on_message_complete(self) -> None:
        """Stop the clock."""
        super().on_message_complete()
        self._stop_the_clock()

    def cut(self) -> None:
        """Close the connection at once; from any thread."""
        with suppress(RuntimeError):  # the port is closed already, and this connection with it
            self.loop.call_soon_threadsafe(self.transport.abort)

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(self._limit_s, self._too_slow)

    def _too_slow(self) -> None:
        self._others.refuse("too-slow", self.app_state[CERTIFICATE])
        self.transport.abort()

    def _stop_the_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
