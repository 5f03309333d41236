"""Ports for servers that tests start."""

import secrets
import socket

# Below those that Linux gives to outgoing connections: nobody takes one before the server does.
_FIRST, _COUNT = 20_000, 12_000


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
