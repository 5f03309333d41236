"""The public port as a whole: address, certificate, register, and what stands behind the gate."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fed_common.audit_log.facts import DoorCode
from fed_common.audit_log.refusals import Refusals
from fed_common.background import repeating
from fed_common.errors import MachineError
from fed_common.pki.certificates import read_certificate
from fed_server.authority.authority import Authority
from fed_server.door.connections import WATCH_S, Connections
from fed_server.door.desk import Desk
from fed_server.door.gate import Fleet, Gate
from fed_server.door.guard import Guard
from fed_server.door.tls import TlsFiles
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the sites come in; with an `authority`, certificates are renewed without a person."""

    address: tuple[str, int]
    tls: TlsFiles
    registry: Registry
    authority: Authority | None = None

    @contextmanager
    def opened(self, fleet: Fleet | None) -> Iterator[int]:
        """Answer from a thread until the context ends; yields the port, which the address may leave 0.

        Raises:
            ConfigError: a TLS file can't be used.
            MachineError: the address can't be bound.
        """
        self.registry.catch_up()
        context, ca = self.tls.context(), read_certificate(self.tls.ca)
        guard, refusals = Guard(registry=self.registry, ca=ca), Refusals(log=self.registry.log)

        def refuse(code: DoorCode, certificate: bytes | None) -> None:
            refusals.count(code, actor=guard.name(certificate))

        connections = Connections(refuse)
        desk = Desk(
            admissions=Admissions(registry=self.registry, ca=ca),
            guard=guard,
            coordinator=self.registry.key.verifying_key,
            authority=self.authority,
            refuse=refuse,
        )

        def watch() -> None:
            connections.cut(guard.refuses)
            refusals.tell()

        with _bound(self.address) as listener, repeating(watch, every_s=WATCH_S, name="door"):
            server = uvicorn.Server(
                uvicorn.Config(
                    Gate(fleet=fleet, desk=desk, guard=guard, refuse=refuse),
                    # A protocol is made by calling this; uvicorn asks for a class and needs no more of it.
                    http=cast("type[HttpToolsProtocol]", connections.protocol),
                    ssl_context_factory=lambda _config, _default: context,
                    lifespan="off",
                    ws="none",
                    log_config=None,
                    log_level=logging.ERROR,
                    access_log=False,
                    server_header=False,
                    timeout_graceful_shutdown=1,
                )
            )
            thread = threading.Thread(target=server.run, args=([listener],), name="fleet", daemon=True)
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True
                thread.join()
                refusals.tell(everything=True)


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        # Python's own text repeats the address; a name that doesn't resolve has a number of its own.
        unresolved = isinstance(error, socket.gaierror)
        reason = "unknown host" if unresolved else os.strerror(error.errno or 0).lower()
        raise MachineError(f"{host}:{port}: {reason}; choose another address or stop its user") from error
