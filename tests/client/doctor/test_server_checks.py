"""The doctor calls the real server over TLS, and names each thing that may stand between."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.authority_samples import Leaf, authority
from tests.contracts.flower_federation import link_to, make_pki, serving

from fed_client.doctor import server
from fed_client.doctor.check import Check
from fed_client.doctor.server import check_server
from fed_client.flower_link import FlowerLink
from fed_common.key_files import write_private


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def link(pki: Path) -> Iterator[FlowerLink]:
    with serving(pki) as exchange:
        yield link_to(exchange.port, pki, state=pki / "state")


def by_subject(link: FlowerLink) -> dict[str, Check]:
    return {check.subject: check for check in check_server(link)}


def test_a_server_in_order_is_ok_throughout(link: FlowerLink) -> None:
    checks = by_subject(link)
    assert checks.keys() == {"own certificate", "server", "certificate", "clock"}
    assert {check.status for check in checks.values()} == {"ok"}, checks


def test_nobody_listening_is_a_failure_with_advice(link: FlowerLink) -> None:
    checks = by_subject(replace(link, address="https://127.0.0.1:1"))
    assert (checks["server"].status, "firewall" in checks["server"].advice) == ("failure", True)


def test_another_ca_is_a_failure(link: FlowerLink, tmp_path: Path) -> None:
    other = make_pki(tmp_path / "other")
    checks = by_subject(replace(link, ca=other / "ca.crt", node_key=other / "north/node.key"))
    assert (checks["server"].status, "not signed by" in checks["server"].found) == ("failure", True)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (Leaf(ends=timedelta(hours=-1)), "expired on"),
        (Leaf(starts=timedelta(hours=1)), "see this machine's clock"),
        (Leaf(usage=ExtendedKeyUsageOID.SERVER_AUTH), "client authentication"),
        (None, "not issued by the consortium's CA"),
    ],
)
def test_an_own_certificate_that_the_server_would_refuse_is_named_before_any_call(
    link: FlowerLink, tmp_path: Path, leaf: Leaf | None, reason: str
) -> None:
    ca, other = authority(), authority()
    (tmp_path / "ca.crt").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    certificate = leaf.issued_by(ca) if leaf else Leaf().issued_by(other)
    write_private(tmp_path / "tls.pem", certificate.public_bytes(Encoding.PEM))
    write_private(tmp_path / "node.key", link.node_key.read_bytes())
    checks = by_subject(replace(link, ca=tmp_path / "ca.crt", node_key=tmp_path / "node.key"))
    assert list(checks) == ["keys"]
    assert (checks["keys"].status, reason in checks["keys"].found) == ("failure", True), checks


def test_a_missing_node_key_is_a_failure_before_any_call(link: FlowerLink, tmp_path: Path) -> None:
    checks = by_subject(replace(link, node_key=tmp_path / "none.key"))
    assert (list(checks), checks["keys"].status) == (["keys"], "failure")


def test_a_certificate_about_to_expire_is_a_warning(
    link: FlowerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RENEW_BEFORE", 1000 * server.RENEW_BEFORE)
    assert by_subject(link)["certificate"].status == "warning"


@pytest.mark.parametrize(
    ("server_ahead_s", "status"), [(0, "ok"), (-4, "ok"), (-60, "failure"), (200, "ok"), (400, "failure")]
)
def test_a_clock_is_judged_by_what_the_server_tolerates(server_ahead_s: int, status: str) -> None:
    date = formatdate(time.time() + server_ahead_s, usegmt=True)
    assert server._clock(date).status == status


def test_a_server_without_a_date_leaves_the_clock_open() -> None:
    assert server._clock("").status == "warning"
