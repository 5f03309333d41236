"""Who shows a certificate that is not in force reaches nothing; a gullible gate would let them in."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from tests.authority_samples import Leaf, authority
from tests.contracts.exchange_contract import EAST, NORTH
from tests.contracts.flower_federation import make_pki, register

from fed_common.audit_log.facts import DoorCode
from fed_common.names import SiteName
from fed_common.pki.certificates import read_certificate
from fed_common.pki.enrolment import node_key_pem
from fed_server.authority.authority import Authority
from fed_server.door.connections import CERTIFICATE
from fed_server.door.gate import Fleet, Gate
from fed_server.door.guard import Guard
from fed_server.registry.admission import Admissions
from fed_server.registry.standing import Standing

# The certificate that the attacker shows, given the consortium's CA; the node key is always north's own.
Attack = Callable[[Authority], x509.Certificate]


class Gullible(Guard):
    """The defence switched off: believes the name in a certificate, whoever wrote it and whenever."""

    def caller(self, certificate: bytes) -> Standing:
        return self.registry.standing(NORTH)


@dataclass
class Service:
    """Stands for the fleet service, and notes whether a request has reached it, and what the log is told."""

    status: int = 200
    reached: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope["path"].encode())
        await PlainTextResponse("welcome", status_code=self.status)(scope, receive, send)

    def refuse(self, code: DoorCode, _certificate: bytes | None) -> None:
        self.refused.append(code)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return make_pki(tmp_path / "pki")


def call(
    pki: Path, guard: Guard, shown: x509.Certificate | None, status: int = 200, /, **headers: str
) -> tuple[httpx.Response, Service]:
    service = Service(status=status)
    fleet = Fleet(
        app=service,
        prefix="/v1/fleet/",
        key_header="node-key",
        max_body_bytes=1000,
        expect=lambda _site, _key: None,
    )
    gate = Gate(fleet=fleet, desk=PlainTextResponse("desk"), guard=guard, refuse=service.refuse)
    der = shown.public_bytes(Encoding.DER) if shown else None

    async def with_certificate(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {CERTIFICATE: der}
        await gate(scope, receive, send)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=with_certificate)) as client:
            content = b"x" * int(headers.pop("body", "0"))
            return await client.post(
                "https://fed/v1/fleet/pull-messages",
                headers={"node-key": node_key(pki, NORTH)} | headers,
                content=content,
            )

    return asyncio.run(send()), service


def node_key(pki: Path, site: SiteName) -> str:
    return b64encode(node_key_pem((pki / site / "node.pub").read_text())).decode()


def guard(pki: Path, kind: type[Guard] = Guard) -> Guard:
    return kind(registry=register(pki), ca=read_certificate(pki / "ca.crt"))


def own(pki: Path, site: SiteName = NORTH) -> x509.Certificate:
    return read_certificate(pki / site / "tls.pem")


NORTH_URI = ("spiffe://development/site/north",)


@pytest.mark.parametrize(
    ("attack", "line"),
    [
        (
            lambda _: Leaf(uris=NORTH_URI).issued_by(authority("development")),
            "not issued by the consortium's CA",
        ),
        (lambda ca: Leaf(uris=NORTH_URI, ends=timedelta(hours=-1)).issued_by(ca), "expired"),
        (lambda ca: Leaf(uris=NORTH_URI, starts=timedelta(hours=1)).issued_by(ca), "not valid before"),
        (lambda ca: Leaf(uris=("spiffe://elsewhere/site/north",)).issued_by(ca), "of federation elsewhere"),
        (lambda ca: Leaf(uris=("spiffe://development/site/west",)).issued_by(ca), "no longer in force"),
        (
            lambda ca: Leaf(uris=NORTH_URI, usage=ExtendedKeyUsageOID.SERVER_AUTH).issued_by(ca),
            "client authentication",
        ),
        (lambda ca: Leaf(uris=NORTH_URI).issued_by(ca), "no longer in force"),
    ],
    ids=["wrong CA", "expired", "not yet", "foreign SAN", "unknown site", "server's", "not in the register"],
)
def test_a_certificate_that_is_not_in_force_reaches_nothing(pki: Path, attack: Attack, line: str) -> None:
    shown = attack(Authority.load(pki / "ca.crt", pki / "ca.key"))
    answer, service = call(pki, guard(pki), shown)
    assert (answer.status_code, line in answer.text, service.reached) == (403, True, []), answer.text
    assert "\n" not in answer.text
    assert service.refused == ["certificate-refused"]
    _, undefended = call(pki, guard(pki, Gullible), shown)
    assert undefended.reached


def test_the_enrolled_site_itself_is_let_in(pki: Path) -> None:
    answer, service = call(pki, guard(pki), own(pki))
    assert (answer.status_code, len(service.reached)) == (200, 1)


def test_a_login_that_the_service_refuses_is_counted(pki: Path) -> None:
    answer, service = call(pki, guard(pki), own(pki), 401)
    assert (answer.status_code, service.refused) == (401, ["login-refused"])
    assert call(pki, guard(pki), own(pki))[1].refused == []


def test_without_a_certificate_there_is_no_fleet_service(pki: Path) -> None:
    answer, service = call(pki, guard(pki), None)
    assert (answer.status_code, service.reached) == (403, [])
    assert "a site's certificate is needed" in answer.text
    assert service.refused == ["no-certificate"]


def test_a_certificate_is_of_no_use_with_another_site_s_node_key(pki: Path) -> None:
    # east holds a good certificate and a copy of north's node key: Flower alone would take it for north.
    answer, service = call(pki, guard(pki), own(pki, EAST))
    assert (answer.status_code, service.reached) == (403, [])
    assert "not the node key that east was approved with" in answer.text
    assert service.refused == ["node-key-differs"]
    _, undefended = call(pki, guard(pki, Gullible), own(pki, EAST))
    assert undefended.reached


@pytest.mark.parametrize(
    ("shut_out", "why"),
    [(Admissions.revoke, "was revoked"), (Admissions.withdraw, "ended when it withdrew")],
)
def test_a_revoked_or_withdrawn_site_is_refused_from_its_next_request_on(
    pki: Path, shut_out: Callable[[Admissions, SiteName, str], object], why: str
) -> None:
    watching = guard(pki)
    assert call(pki, watching, own(pki))[0].status_code == 200
    shut_out(Admissions(registry=register(pki), ca=read_certificate(pki / "ca.crt")), NORTH, "stolen")
    answer, service = call(pki, watching, own(pki))
    assert (answer.status_code, service.reached) == (403, [])
    assert f"the certificate of north {why}" in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"body": "1001"}, 413), ({"content-length": "99999999999"}, 413), ({"content-length": "-1"}, 411)],
)
def test_an_oversized_body_is_refused_by_its_length(pki: Path, headers: dict[str, str], status: int) -> None:
    answer, service = call(pki, guard(pki), own(pki), **headers)
    assert (answer.status_code, service.reached) == (status, [])
    assert service.refused == ["length-refused"]


def test_the_register_in_another_s_hand_lets_nobody_in(pki: Path) -> None:
    path = pki / "registry/north.jsonl"
    path.write_bytes(path.read_bytes().replace(b"SiteInvited", b"SiteInvitex", 1))
    answer, service = call(pki, guard(pki), own(pki))
    assert (answer.status_code, service.reached) == (403, [])


def test_a_register_that_can_not_be_read_lets_nobody_in_and_cuts_who_is_in(pki: Path) -> None:
    path = pki / "registry/north.jsonl"
    path.unlink()
    path.mkdir()
    watching, shown = guard(pki), own(pki)
    answer, service = call(pki, watching, shown)
    assert (answer.status_code, service.reached) == (403, [])
    assert watching.refuses(shown.public_bytes(Encoding.DER))
    assert watching.refuses(b"no certificate")
