import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from flwr.app import ConfigRecord, RecordDict
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.date import now
from flwr.supernode import node_auth_http_interceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from tests.contracts.exchange_contract import (
    NORTH,
    Answerer,
    ExchangeContract,
    Federation,
    SilentUntilReleased,
    by_site,
    fail,
    question,
    reverse,
)
from tests.contracts.flower_federation import (
    answering,
    door,
    link_to,
    make_pki,
    serve_until_it_gives_up,
    serving,
    wait_until,
)

from fed_client.flower_link import FlowerLink
from fed_common.errors import ConfigError, MachineError, TrustError
from fed_common.key_files import write_private
from fed_common.names import SiteName
from fed_server.door.tls import TlsFiles
from fed_server.exchange import Exchange
from fed_server.flower_link import FlowerExchange


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other_pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("other-pki"))


@pytest.fixture
def federation(pki: Path, tmp_path: Path) -> Federation:
    @contextmanager
    def opened(answerers: Mapping[SiteName, Answerer]) -> Iterator[Exchange]:
        with ExitStack() as stack:
            exchange = stack.enter_context(serving(pki))
            for site, answer in answerers.items():
                link = link_to(exchange.port, pki, site=site, state=tmp_path / site)
                stack.enter_context(answering(link, answer))
            wait_until(lambda: exchange.online() == frozenset(answerers))
            yield exchange

    return opened


class TestFlowerExchange(ExchangeContract):
    pass


def test_no_text_of_an_error_leaves_the_site(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent = []
    push = FleetHttpClient.PushMessages

    def overheard(client: FleetHttpClient, request: PushMessagesRequest) -> PushMessagesResponse:
        sent.append(request.SerializeToString())
        return push(client, request)

    monkeypatch.setattr(FleetHttpClient, "PushMessages", overheard)
    with federation({NORTH: fail}) as exchange:
        list(exchange.ask(question(b"model", sites=(NORTH,))))
    assert b"RuntimeError" in sent[0]
    assert b"patient" not in sent[0] and "patient" not in caplog.text


def test_a_site_that_was_never_there_is_offline(pki: Path) -> None:
    with serving(pki) as exchange:
        assert exchange.online() == frozenset()
        assert set(by_site(exchange.ask(question(b"model", deadline_s=0.2))).values()) == {"offline"}


def test_a_site_that_comes_before_the_deadline_is_asked(pki: Path, tmp_path: Path) -> None:
    with serving(pki) as exchange, ExitStack() as later:
        link = link_to(exchange.port, pki, state=tmp_path)
        timer = threading.Timer(0.5, lambda: later.enter_context(answering(link, reverse)))
        timer.start()
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: b"ledom"}
        timer.join()


def test_a_site_that_is_away_is_not_waited_for_when_the_others_have_answered(
    pki: Path, tmp_path: Path
) -> None:
    with serving(pki) as exchange, answering(link_to(exchange.port, pki, state=tmp_path), reverse):
        wait_until(lambda: exchange.online() == {NORTH})
        # Waiting for them would take longer than the test runner allows.
        replies = by_site(exchange.ask(question(b"model", deadline_s=3600.0)))
    assert replies.pop(NORTH) == b"ledom"
    assert set(replies.values()) == {"offline"}


def test_a_site_learns_that_it_was_late(pki: Path, tmp_path: Path) -> None:
    slow = SilentUntilReleased()
    with (
        serving(pki) as exchange,
        answering(link_to(exchange.port, pki, state=tmp_path), slow) as events,
    ):
        wait_until(lambda: exchange.online() == {NORTH})
        late = exchange.ask(question(b"model", sites=(NORTH,), deadline_s=0.5))
        assert by_site(late) == {NORTH: "late"}
        slow.release()
        wait_until(lambda: events == ["connected", "asked", "late"])


def test_a_site_that_is_stopped_is_offline_at_once(pki: Path, tmp_path: Path) -> None:
    with serving(pki) as exchange:
        with answering(link_to(exchange.port, pki, state=tmp_path), reverse):
            wait_until(lambda: exchange.online() == {NORTH})
        assert exchange.online() == frozenset()


@pytest.mark.parametrize(
    "limit", ["fed_client.flower_link.question.MAX_QUESTION_BYTES", "fed_server.flower_link.MAX_ANSWER_BYTES"]
)
def test_a_payload_above_the_limit_is_a_link_error(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(limit, 1000)
    with federation({NORTH: reverse}) as exchange:
        assert by_site(exchange.ask(question(bytes(1001), sites=(NORTH,)))) == {NORTH: "link-error"}
        assert by_site(exchange.ask(question(bytes(1000), sites=(NORTH,)))) == {NORTH: bytes(1000)}


class Unreadable(ConfigRecord):
    """Passes for a record until its protobuf is read."""

    def deflate(self) -> bytes:
        return b"ConfigRecord  3\x00\xff\xff\xff"


def test_a_site_that_sends_what_nobody_can_parse_is_a_link_error(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fed_client.flower_link.pack", lambda _: RecordDict({"0": Unreadable()}))
    with federation({NORTH: reverse}) as exchange:
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: "link-error"}


def test_a_site_that_is_not_enrolled_is_not_waited_for(pki: Path) -> None:
    with serving(pki) as exchange:
        asked = exchange.ask(question(b"model", sites=(SiteName("west"),)))
        assert by_site(asked) == {SiteName("west"): "not-enrolled"}


# Who may come in


def test_only_the_fleet_paths_answer_and_only_to_enrolled_keys(pki: Path) -> None:
    key = load_ssh_public_key((pki / NORTH / "node.pub").read_bytes())
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    enrolled = {FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(pem).decode()}
    closed = ["/", "/health", "/docs", "/openapi.json", "/v1/control/list-runs", "/v1/runtime/acquire-task"]
    context = link_to(1, pki, state=pki).tls_context()
    with serving(pki) as exchange, httpx.Client(verify=context) as client:

        def status(path: str, *, headers: Mapping[str, str], body: bytes = b"") -> int:
            url = f"https://127.0.0.1:{exchange.port}{path}"
            return client.post(url, headers=dict(headers), content=body).status_code

        assert {status(path, headers=enrolled) for path in closed} == {404}
        assert status("/v1/fleet/pull-messages", headers={}) == 403
        assert status("/v1/fleet/push-object", headers=enrolled, body=bytes(9 << 20)) == 413
        # The header alone opens nothing: the signature is missing.
        protobuf = enrolled | {"content-type": "application/protobuf"}
        assert status("/v1/fleet/pull-messages", headers=protobuf) == 401


def test_a_site_without_a_certificate_is_told_before_it_calls(
    pki: Path, other_pki: Path, tmp_path: Path
) -> None:
    write_private(tmp_path / "node.key", (pki / NORTH / "node.key").read_bytes())
    link = replace(link_to(1, pki, state=tmp_path), node_key=tmp_path / "node.key")
    with pytest.raises(TrustError, match=r"tls\.pem: key file can't be read"):
        serve_until_it_gives_up(link)
    with pytest.raises(TrustError, match="not issued by the consortium's CA"):
        serve_until_it_gives_up(replace(link, node_key=other_pki / NORTH / "node.key"))


def test_a_server_of_another_ca_is_not_trusted(pki: Path, other_pki: Path, tmp_path: Path) -> None:
    with serving(other_pki) as exchange, pytest.raises(TrustError, match=r"not signed by .*ca\.crt"):
        serve_until_it_gives_up(link_to(exchange.port, pki, state=tmp_path))


def test_a_wrong_clock_is_named(pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_auth_http_interceptor, "now", lambda: now() + timedelta(hours=1))
    with serving(pki) as exchange, pytest.raises(MachineError, match="clock"):
        serve_until_it_gives_up(link_to(exchange.port, pki, state=tmp_path))


def test_plaintext_is_refused_on_both_sides_without_a_word(
    federation: Federation, pki: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="https://HOST:PORT"):
        FlowerLink(address="http://127.0.0.1:1", ca=pki, node_key=pki, state=tmp_path)
    with federation({NORTH: reverse}) as exchange:
        assert isinstance(exchange, FlowerExchange)
        with socket.create_connection(("127.0.0.1", exchange.port)) as client:
            client.sendall(b"POST /v1/fleet/activate-node HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"HTTP" not in client.recv(1000)
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: b"ledom"}
    assert capfd.readouterr() == ("", "")


def test_tls_1_2_is_refused(pki: Path) -> None:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        serving(pki) as exchange,
        socket.create_connection(("127.0.0.1", exchange.port)) as client,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(client, server_hostname="127.0.0.1")


# What can be wrong when the server starts


def test_a_taken_port_is_one_line(pki: Path) -> None:
    with serving(pki) as exchange, pytest.raises(MachineError) as caught:
        serving(pki, port=exchange.port).__enter__()
    assert str(caught.value).startswith(f"127.0.0.1:{exchange.port}: address already in use; ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "server/missing.key"}, "missing.key: key file can't be read"),
        ({"key": "ca.crt"}, "ca.crt: other users may access this key"),
        ({"key": "ca.key"}, "ca.key: not the private key of"),
        ({"certificate": "server/tls.key"}, "tls.key: not a PEM certificate"),
        ({"ca": "server/tls.crt"}, "tls.crt: not signed by"),
    ],
)
def test_a_wrong_tls_file_is_named(pki: Path, changes: dict[str, str], message: str) -> None:
    names = {"ca": "ca.crt", "certificate": "server/tls.crt", "key": "server/tls.key"} | changes
    tls = TlsFiles(**{name: pki / path for name, path in names.items()})
    with pytest.raises((ConfigError, TrustError), match=message):
        FlowerExchange.open(replace(door(pki), tls=tls)).__enter__()


@pytest.mark.parametrize(
    ("ca", "node_key", "message"),
    [
        ("missing.crt", "north/node.key", "missing.crt: can't be read"),
        ("north/node.key", "north/node.key", "node.key: not a PEM certificate"),
        ("ca.crt", "missing.key", "missing.key: key file can't be read"),
        ("ca.crt", "north/identity.key", "identity.key: must be a NIST"),
    ],
)
def test_a_site_s_wrong_file_is_named(
    pki: Path, tmp_path: Path, ca: str, node_key: str, message: str
) -> None:
    link = FlowerLink(address="https://127.0.0.1:1", ca=pki / ca, node_key=pki / node_key, state=tmp_path)
    with pytest.raises((ConfigError, TrustError), match=message):
        serve_until_it_gives_up(link)
