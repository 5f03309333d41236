"""A server and sites of the Flower link for tests: real TLS on loopback, sites as threads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.contracts.exchange_contract import AMPLE_S, NORTH, SITES, Answerer, reverse

from fed_client.flower_link import FlowerLink, LinkEvent, serve
from fed_common.names import SiteName
from fed_common.signing import SigningKey
from fed_server.dev_certificates import write_dev_certificates
from fed_server.door.door import Door
from fed_server.door.tls import TlsFiles
from fed_server.flower_link import FlowerExchange
from fed_server.registry.registry import Registry


def make_pki(folder: Path, *, passphrase: bytes | None = None) -> Path:
    """Enrol three sites, whose private keys are encrypted if there is a `passphrase`."""
    write_dev_certificates(folder, sites=SITES, hosts=["localhost", "127.0.0.1"])
    for name in SITES if passphrase else ():
        certificate = (folder / name / "tls.pem").read_bytes()
        for file in ("node.key", "tls.pem"):
            path = folder / name / file
            key = load_pem_private_key(path.read_bytes(), None)
            encrypted = key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase or b"")
            )
            kept = certificate.partition(b"-----BEGIN PRIVATE")[0] if file == "tls.pem" else b""
            path.write_bytes(kept + encrypted)
    return folder


def tls_files(pki: Path) -> TlsFiles:
    return TlsFiles(ca=pki / "ca.crt", certificate=pki / "server/tls.crt", key=pki / "server/tls.key")


def register(pki: Path) -> Registry:
    return Registry(folder=pki / "registry", key=SigningKey.load(pki / "server/identity.key"))


def door(pki: Path, *, port: int = 0) -> Door:
    return Door(address=("127.0.0.1", port), tls=tls_files(pki), registry=register(pki))


@contextmanager
def serving(pki: Path, *, port: int = 0) -> Iterator[FlowerExchange]:
    with FlowerExchange.open(door(pki, port=port)) as exchange:
        yield exchange


def link_to(port: int, pki: Path, *, state: Path, site: SiteName = NORTH) -> FlowerLink:
    return FlowerLink(
        address=f"https://127.0.0.1:{port}",
        ca=pki / "ca.crt",
        node_key=pki / site / "node.key",
        state=state,
    )


@contextmanager
def answering(link: FlowerLink, answer: Answerer) -> Iterator[list[LinkEvent]]:
    """Run a site in a thread; yields the events it reports."""
    events = list[LinkEvent]()
    with running(link, answer, events.append):
        yield events


@contextmanager
def running(link: FlowerLink, answer: Answerer, on_event: Callable[[LinkEvent], None]) -> Iterator[None]:
    """Run a site in a thread."""
    stop = threading.Event()
    site = threading.Thread(
        target=serve, args=(answer,), kwargs={"link": link, "stop": stop, "on_event": on_event}
    )
    site.start()
    try:
        yield
    finally:
        stop.set()
        site.join()


def serve_until_it_gives_up(link: FlowerLink) -> None:
    serve(reverse, link=link, stop=threading.Event(), on_event=lambda _: None)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + AMPLE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
