"""A certificate is renewed while the site runs, unless it was revoked; keys may be encrypted at rest."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.exchange_contract import by_site, question, reverse
from tests.contracts.flower_federation import (
    answering,
    link_to,
    make_pki,
    register,
    serve_until_it_gives_up,
    serving,
    wait_until,
)
from tests.contracts.open_desk import NORTH, Coordinator, enrol, opened_desk

from fed_client.enrolment import desk, renewal
from fed_client.enrolment.renewal import Renewal, is_due
from fed_client.flower_link import FlowerLink
from fed_common.errors import ConfigError, FedError, TrustError
from fed_common.pki.certificates import read_certificate, verified_site
from fed_common.pki.enrolment import Admission
from fed_common.pki.key_folder import KeyFolder
from fed_server.authority.authority import Authority
from fed_server.registry.admission import Admissions


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with opened_desk(tmp_path / "coordinator") as opened:
        yield opened


def renewal_of(coordinator: Coordinator, keys: Path) -> Renewal:
    link = FlowerLink(address=coordinator.address, ca=keys / "ca.crt", node_key=keys / "node.key", state=keys)
    return Renewal(site=NORTH, link=link)


def test_after_two_thirds_of_its_life_a_certificate_is_renewed_with_a_new_key(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    enrol(coordinator, keys)
    before, overdue = read_certificate(keys / "tls.pem"), renewal_of(coordinator, keys)
    now = datetime.now(UTC)
    assert not overdue.renew_if_due(now + timedelta(days=59))
    assert read_certificate(keys / "tls.pem") == before
    assert overdue.renew_if_due(now + timedelta(days=61))
    after = read_certificate(keys / "tls.pem")
    assert after.public_key() != before.public_key()
    assert verified_site(after, ca=read_certificate(keys / "ca.crt")) == NORTH
    assert not is_due(after, now)


def test_a_revoked_site_renews_nothing(coordinator: Coordinator, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    enrol(coordinator, keys)
    coordinator.run("revoke", NORTH, "--reason", "stolen")
    with pytest.raises(TrustError, match="was revoked"):
        renewal_of(coordinator, keys).renew_if_due(datetime.now(UTC) + timedelta(days=61))


def test_a_renewal_that_fails_is_logged_and_the_daemon_goes_on(
    coordinator: Coordinator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = tmp_path / "keys"
    enrol(coordinator, keys)
    before = (keys / "tls.pem").read_bytes()
    coordinator.run("revoke", NORTH, "--reason", "stolen")
    monkeypatch.setattr(renewal, "is_due", lambda *_: True)
    renewal_of(coordinator, keys).look()
    assert "can't be renewed now" in caplog.text and "was revoked" in caplog.text
    assert (keys / "tls.pem").read_bytes() == before


def test_strangers_can_not_keep_a_site_from_renewing(coordinator: Coordinator, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    enrol(coordinator, keys)
    for _ in range(60):
        with suppress(FedError):
            desk.ask(coordinator.address, b"{}", ca=read_certificate(keys / "ca.crt"))
    assert renewal_of(coordinator, keys).renew_if_due(datetime.now(UTC) + timedelta(days=61))


def test_a_daemon_shows_its_renewed_certificate_without_being_restarted(tmp_path: Path) -> None:
    pki = make_pki(tmp_path / "pki")
    authority = Authority.load(pki / "ca.crt", pki / "ca.key")
    keys = KeyFolder(path=pki / NORTH)
    with serving(pki) as exchange, answering(link_to(exchange.port, pki, state=tmp_path), reverse) as events:
        wait_until(lambda: exchange.online() == {NORTH})
        admissions = Admissions(registry=register(pki), ca=authority.certificate)
        for _ in range(2):  # after the second, the first certificate is nobody's
            standing = admissions.renew(keys.request(NORTH, authority.certificate), NORTH, authority)
            coordinator = admissions.registry.key.verifying_key.pem.decode()
            admission = Admission(certificate=standing.certificates[-1], coordinator=coordinator)
            logins = events.count("connected")
            keys.accept(admission, NORTH, authority.certificate)
            wait_until(lambda: events.count("connected") > logins)  # noqa: B023
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: b"ledom"}
    assert "disconnected" not in events


# Keys at rest


def test_a_site_with_encrypted_keys_starts_with_the_file_that_holds_its_passphrase(tmp_path: Path) -> None:
    pki = make_pki(tmp_path / "pki", passphrase=b"correct horse")
    assert b"ENCRYPTED" in (pki / NORTH / "tls.pem").read_bytes()
    with serving(pki) as exchange:
        link = link_to(exchange.port, pki, state=tmp_path)
        for wrong in (None, b"battery"):
            with pytest.raises(ConfigError, match="another passphrase"):
                serve_until_it_gives_up(replace(link, passphrase=wrong))
        with answering(replace(link, passphrase=b"correct horse"), reverse):
            wait_until(lambda: exchange.online() == {NORTH})
