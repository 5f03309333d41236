"""Whoever is turned away at the real port is in the audit log, by name where a certificate tells it."""

import socket
import ssl
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.adversarial.test_on_the_line import WEST, crawl, is_cut
from tests.contracts.exchange_contract import NORTH
from tests.contracts.flower_federation import door, link_to, make_pki, wait_until

from fed_common.audit_log.facts import RequestsRefused
from fed_common.audit_log.log import AuditLog
from fed_common.pki.certificates import read_certificate
from fed_common.pki.key_folder import KeyFolder
from fed_server.door import connections
from fed_server.door.door import Door
from fed_server.registry.admission import Admissions


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return make_pki(tmp_path / "pki")


def watched(pki: Path) -> tuple[Door, AuditLog]:
    log = AuditLog(pki / "log.jsonl")
    opened = door(pki)
    return replace(opened, registry=replace(opened.registry, log=log)), log


def stranger_at(port: int, pki: Path) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    return httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context)


def turned_away(log: AuditLog) -> dict[tuple[str, str], int]:
    """Return how often whom for what."""
    counted: dict[tuple[str, str], int] = {}
    for line in log.read():
        if isinstance(fact := line.fact, RequestsRefused):
            kind = (line.entry.actor, fact.code)
            counted[kind] = counted.get(kind, 0) + fact.count
    return counted


def test_strangers_leave_a_number_in_the_log(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STRANGER_REQUEST_S", 0.5)
    guarded, log = watched(pki)
    with guarded.opened(None) as port:
        with stranger_at(port, pki) as stranger:
            for _ in range(3):
                assert stranger.get("/docs").status_code == 404
            assert stranger.post("/v1/enrolment/request", content=b"let me in").status_code == 403
            assert stranger.post("/v1/enrolment/request", content=bytes(1 << 20)).status_code == 413
        with closing(crawl(port, pki / "ca.crt")) as slow:
            assert is_cut(slow)
    assert turned_away(log) == {
        ("stranger", "unknown-path"): 3,
        ("stranger", "enrolment-refused"): 1,
        ("stranger", "length-refused"): 1,
        ("stranger", "too-slow"): 1,
    }


def test_who_gets_through_no_handshake_is_counted(
    pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.5)
    guarded, log = watched(pki)
    other = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    other.load_cert_chain(make_pki(tmp_path / "other") / NORTH / "tls.pem")
    with guarded.opened(None) as port:
        with closing(socket.create_connection(("127.0.0.1", port), 5)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain = socket.create_connection(("127.0.0.1", port), 5)
        with closing(other.wrap_socket(plain, server_hostname="127.0.0.1")) as line:
            line.settimeout(5.0)
            assert is_cut(line)
        with stranger_at(port, pki) as stranger:
            assert stranger.get("/docs").status_code == 404
        wait_until(lambda: turned_away(log).get(("stranger", "handshake-failed"), 0) >= 2)
    assert turned_away(log)["stranger", "unknown-path"] == 1


def test_a_flood_of_strangers_writes_a_few_lines(pki: Path) -> None:
    guarded, log = watched(pki)
    before = len(log.read())
    with guarded.opened(None) as port:
        quiet = len(log.read())
        with stranger_at(port, pki) as stranger:
            for _ in range(300):
                stranger.get("/v1/enrolment/nothing")
    told = turned_away(log)
    assert before == 0 and quiet > 0, "what was in the register is noted when the door opens"
    assert told[("stranger", "too-many-requests")] > 200
    assert len(log.read()) - quiet < 10


def test_a_coordinator_s_disk_is_not_told_to_strangers(pki: Path, tmp_path: Path) -> None:
    guarded, log = watched(pki)
    ca = read_certificate(pki / "ca.crt")
    secret = Admissions(registry=guarded.registry, ca=ca).invite(WEST, ttl_s=60.0)
    keys = KeyFolder(path=tmp_path / "west")
    keys.make()
    with guarded.opened(None) as port, stranger_at(port, pki) as stranger:
        log.path.unlink()
        log.path.mkdir()
        answer = stranger.post("/v1/enrolment/request", content=keys.request(WEST, ca, secret=secret))
    assert (answer.status_code, str(tmp_path) in answer.text) == (503, False)


def test_a_revoked_site_is_cut_and_named(pki: Path, tmp_path: Path) -> None:
    guarded, log = watched(pki)
    with guarded.opened(None) as port:
        context = link_to(port, pki, state=tmp_path).tls_context()
        plain = socket.create_connection(("127.0.0.1", port), 5)
        with closing(context.wrap_socket(plain, server_hostname="127.0.0.1")) as line:
            line.settimeout(5.0)
            line.sendall(b"POST ")
            time.sleep(0.2)
            Admissions(registry=guarded.registry, ca=read_certificate(pki / "ca.crt")).revoke(NORTH, "stolen")
            assert is_cut(line)
    assert turned_away(log)[(NORTH, "connection-cut")] == 1
    lines = [line.fact for line in log.read()]
    assert [type(fact).__name__ for fact in lines].count("RegisterWritten") == 10
