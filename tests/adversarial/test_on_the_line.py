"""Attacks on the real port: slow callers, a site revoked in the middle of a round, one that counts twice."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from tests.contracts.exchange_contract import EAST, NORTH, SITES, SilentUntilReleased, question, reverse
from tests.contracts.flower_federation import answering, link_to, make_pki, register, serving, wait_until

from fed_client.flower_link import serve
from fed_common.errors import TrustError
from fed_common.names import SiteName
from fed_common.pki.certificates import read_certificate
from fed_common.pki.key_folder import KeyFolder
from fed_server.door import connections
from fed_server.door.gate import Gate
from fed_server.exchange import Answer, NoAnswer
from fed_server.flower_link import FlowerExchange
from fed_server.registry.admission import Admissions

WEST = SiteName("west")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return make_pki(tmp_path / "pki")


def admissions(pki: Path) -> Admissions:
    return Admissions(registry=register(pki), ca=read_certificate(pki / "ca.crt"))


@pytest.fixture
def exchange(pki: Path) -> Iterator[FlowerExchange]:
    with serving(pki) as opened:
        yield opened


def crawl(port: int, ca: Path) -> ssl.SSLSocket:
    """Open a connection, begin a request, and never end it."""
    context = ssl.create_default_context(cafile=str(ca))
    line = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname="127.0.0.1")
    line.sendall(b"POST /v1/enrolment/request HTTP/1.1\r\nX-A: ")
    line.settimeout(3.0)
    return line


def is_cut(line: ssl.SSLSocket) -> bool:
    try:
        return line.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(("limit_s", "cut"), [(1.0, True), (3600.0, False)], ids=["on", "off"])
def test_who_never_ends_a_request_is_cut_and_holds_up_nobody(
    pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float, cut: bool
) -> None:
    monkeypatch.setattr(connections, "STRANGER_REQUEST_S", limit_s)
    with serving(pki) as exchange, ExitStack() as stack:
        lines = [stack.enter_context(closing(crawl(exchange.port, pki / "ca.crt"))) for _ in range(30)]
        with answering(link_to(exchange.port, pki, state=tmp_path), reverse):
            (reply,) = exchange.ask(question(b"model", sites=(NORTH,)))
            assert isinstance(reply, Answer)
        assert is_cut(lines[0]) == cut
        if cut:
            assert all(is_cut(line) for line in lines)


def test_an_overheard_login_is_worth_nothing_without_the_certificate(
    exchange: FlowerExchange, pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, call = list[dict[str, str]](), Gate.__call__

    async def overheard(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/pull-messages"):
            heard.append(dict(Headers(scope=scope)))
        await call(gate, scope, receive, send)

    monkeypatch.setattr(Gate, "__call__", overheard)
    link = link_to(exchange.port, pki, state=tmp_path)
    url = f"https://127.0.0.1:{exchange.port}/v1/fleet/pull-messages"

    def replayed(context: ssl.SSLContext) -> int:
        body = PullMessagesRequest(node=Node(node_id=link.last_login() or 0)).SerializeToString()
        return httpx.post(url, headers=heard[0], content=body, verify=context).status_code

    with answering(link, reverse):
        wait_until(lambda: len(heard) > 0)
        assert replayed(ssl.create_default_context(cafile=str(pki / "ca.crt"))) == 403
        # Off: with the certificate, too, all that is left is Flower's signature, which is good for 300 s.
        assert replayed(link.tls_context()) == 200


def test_strangers_share_a_few_connections(
    exchange: FlowerExchange, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_STRANGERS", 5)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(closing(crawl(exchange.port, pki / "ca.crt")))
        with closing(crawl(exchange.port, pki / "ca.crt")) as sixth:
            assert is_cut(sixth)


def test_a_site_revoked_in_the_middle_of_a_round_is_out_of_it_and_cut_off(
    exchange: FlowerExchange, pki: Path, tmp_path: Path
) -> None:
    slow, replies, ended = SilentUntilReleased(), list[Answer | NoAnswer](), list[TrustError]()

    def site() -> None:
        try:
            link = link_to(exchange.port, pki, state=tmp_path)
            serve(slow, link=link, stop=threading.Event(), on_event=lambda _: None)
        except TrustError as error:
            ended.append(error)

    daemon = threading.Thread(target=site)
    daemon.start()
    wait_until(lambda: exchange.online() == {NORTH})
    asking = threading.Thread(target=lambda: replies.extend(exchange.ask(question(b"model", sites=(NORTH,)))))
    asking.start()
    time.sleep(0.5)
    revoked = time.monotonic()
    admissions(pki).revoke(NORTH, "the disk was stolen")
    asking.join()
    assert time.monotonic() - revoked < 5.0
    assert replies == [NoAnswer(site=NORTH, reason="not-enrolled")]
    slow.release()
    daemon.join()
    assert "the certificate of north was revoked" in str(ended[0])


def test_an_idle_connection_of_a_revoked_site_is_cut_within_seconds(
    exchange: FlowerExchange, pki: Path, tmp_path: Path
) -> None:
    context = link_to(exchange.port, pki, state=tmp_path).tls_context()
    plain = socket.create_connection(("127.0.0.1", exchange.port), 5)
    with closing(context.wrap_socket(plain, server_hostname="127.0.0.1")) as line:
        line.settimeout(5.0)
        line.sendall(b"POST ")
        admissions(pki).revoke(NORTH, "stolen")
        assert is_cut(line)


def test_the_port_takes_no_certificate_of_another_ca(
    exchange: FlowerExchange, pki: Path, tmp_path: Path
) -> None:
    other = make_pki(tmp_path / "other")
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(other / NORTH / "tls.pem")
    plain = socket.create_connection(("127.0.0.1", exchange.port), 5)
    with closing(context.wrap_socket(plain, server_hostname="127.0.0.1")) as line:
        line.settimeout(5.0)
        assert is_cut(line)


@pytest.mark.parametrize("shared", ["identity", "node"])
def test_nobody_is_enrolled_under_two_names_with_one_key(pki: Path, tmp_path: Path, shared: str) -> None:
    desk = admissions(pki)
    keys = KeyFolder(path=tmp_path / "sybil")
    keys.make()
    for end in ("key", "pub"):
        (keys.path / f"{shared}.{end}").write_bytes((pki / EAST / f"{shared}.{end}").read_bytes())
    raw = keys.request(WEST, desk.ca, secret=desk.invite(WEST, ttl_s=60.0))
    with pytest.raises(TrustError, match="already another site's"):
        desk.ask(raw)
    assert desk.registry.standing(WEST).state == "invited"
    # Off: where the others are not looked at, the same request is taken in.
    alone = replace(desk, registry=replace(desk.registry, folder=tmp_path / "alone"))
    fresh = keys.request(WEST, desk.ca, secret=alone.invite(WEST, ttl_s=60.0))
    assert alone.ask(fresh).state == "waiting"
    assert set(SITES) == set(desk.registry.sites()) - {WEST}
