"""A hospital enrolls with the commands that people type, over TLS or by three files; nobody else does."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
from click.testing import Result
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
from typer.testing import CliRunner

from fed_client.cli import app as client
from fed_client.enrolment import desk, renewal
from fed_client.enrolment.joining import Joining
from fed_client.enrolment.renewal import Renewal, is_due
from fed_client.flower_link import FlowerLink
from fed_common.errors import ConfigError, FedError, TrustError
from fed_common.names import SiteName
from fed_common.pki.certificates import read_certificate, verified_site
from fed_common.pki.enrolment import Admission
from fed_common.pki.invitation import Invitation
from fed_common.pki.key_folder import KeyFolder
from fed_server.authority.authority import Authority
from fed_server.cli import app as server
from fed_server.config import load_trust_files
from fed_server.registry.admission import Admissions

NORTH, SOUTH = SiteName("north"), SiteName("south")


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """A federation whose desk is open at `address`."""

    config: Path
    address: str

    def run(self, *words: object, fails: bool = False) -> Result:
        return invoke(server, *words, "--config", self.config, fails=fails)

    def invite(self, site: SiteName = NORTH) -> str:
        return self.run("invite", site, "--address", self.address).stdout.strip()


def invoke(app: object, *words: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    assert (result.exit_code != 0) == fails, (result.output, result.exception)
    return result


def found(root: Path, *options: str) -> Path:
    tables = {
        "federation": {"name": "consortium", "task": "task.toml", "runs": "runs"},
        "server": {
            "host": "127.0.0.1",
            "port": 8443,
            "ca": "keys/ca.crt",
            "certificate": "keys/server/tls.crt",
            "key": "keys/server/tls.key",
            "identity": "keys/server/identity.key",
        },
        "sites": [{"name": name, "patients": 100} for name in (NORTH, SOUTH)],
        "quorum": {"sites": 2},
        "training": {"rounds": 1, "steps_per_round": 1, "learning_rate": 0.1},
        "privacy": {"epsilon": 8.0, "sampling_rate": 0.1},
    }
    root.mkdir()
    config = root / "federation.toml"
    config.write_text(tomli_w.dumps(tables))
    invoke(server, "ca", "init", "--host", "127.0.0.1", *options, "--config", config)
    return config


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    config = found(tmp_path / "coordinator")
    door = load_trust_files(config).door()
    with type(door)(
        address=("127.0.0.1", 0), tls=door.tls, registry=door.registry, authority=door.authority
    ).opened(None) as port:
        yield Coordinator(config=config, address=f"https://127.0.0.1:{port}")


def enrol(coordinator: Coordinator, out: Path) -> None:
    """Play hospital and coordinator, who talk on the phone."""
    line, told = coordinator.invite(), list[str]()
    joining = Joining(keys=KeyFolder(path=out), tell=told.append)
    thread = threading.Thread(
        target=joining.online, args=(Invitation.parse(line),), kwargs={"patience_s": 30.0, "poll_s": 0.1}
    )
    thread.start()
    wait_until(lambda: "waiting" in coordinator.run("sites").stdout)
    words = told[0].rpartition(": ")[2]
    assert words.split()[0] in coordinator.run("sites").stdout
    coordinator.run("approve", NORTH, "--words", words)
    thread.join()


def test_a_hospital_is_enrolled_when_both_sides_read_the_same_six_words(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    enrol(coordinator, tmp_path / "keys")
    ca = read_certificate(tmp_path / "keys/ca.crt")
    assert verified_site(read_certificate(tmp_path / "keys/tls.pem"), ca=ca) == NORTH
    assert "enrolled" in coordinator.run("sites").stdout
    public = coordinator.config.parent / "keys/server/identity.pub"
    assert (tmp_path / "keys/coordinator.pub").read_bytes() == public.read_bytes()


def test_a_line_that_was_used_lets_nobody_else_in(coordinator: Coordinator, tmp_path: Path) -> None:
    line = coordinator.invite()
    first = invoke(client, "enroll", line, "--out", tmp_path / "a", "--patience-s", 0, fails=True)
    assert "six words" in first.stdout and "nobody has approved yet" in str(first.exception)
    thief = invoke(client, "enroll", line, "--out", tmp_path / "b", "--patience-s", 0, fails=True)
    assert "no invitation is open for north: used" in str(thief.exception)
    # Interrupted, the hospital's own command goes on.
    again = invoke(client, "enroll", line, "--out", tmp_path / "a", "--patience-s", 0, fails=True)
    assert "nobody has approved yet" in str(again.exception)
    words = first.stdout.splitlines()[0].rpartition(": ")[2]
    coordinator.run("approve", NORTH, "--words", words)
    assert "enrolled" in invoke(client, "enroll", line, "--out", tmp_path / "a").stdout
    assert "choose another folder" in str(
        invoke(client, "enroll", line, "--out", tmp_path / "a", fails=True).exception
    )


def test_somebody_in_between_with_another_ca_learns_nothing(coordinator: Coordinator, tmp_path: Path) -> None:
    other = "0" * 64
    parts = coordinator.invite().split("/")
    line = "/".join([*parts[:-2], other, parts[-1]])
    refused = invoke(client, "enroll", line, "--out", tmp_path / "keys", fails=True)
    assert "somebody may stand in between" in str(refused.exception)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("line", ["", "https://x/y", "http://h:1/f/n/" + "0" * 64 + "/" + "a" * 32])
def test_what_is_no_invitation_is_refused_without_repeating_it(line: str) -> None:
    with pytest.raises(FedError, match="not an invitation") as refused:
        Invitation.parse(line)
    assert not line or line not in str(refused.value)


def test_other_words_enrol_nobody(coordinator: Coordinator, tmp_path: Path) -> None:
    invoke(client, "enroll", coordinator.invite(), "--out", tmp_path / "a", "--patience-s", 0, fails=True)
    refused = coordinator.run("approve", NORTH, "--words", "aardvark adroitness " * 3, fails=True)
    assert "not the words" in str(refused.exception)


def test_a_site_that_is_not_in_federation_toml_is_not_invited(coordinator: Coordinator) -> None:
    refused = coordinator.run("invite", "nort", fails=True)
    assert "its sites are north, south" in str(refused.exception)
    assert "at most 30d" in str(coordinator.run("invite", NORTH, "--ttl", "365d", fails=True).exception)


def test_guesses_are_limited_before_they_are_looked_at(coordinator: Coordinator) -> None:
    statuses = []
    for _ in range(60):
        try:
            desk.ask(
                coordinator.address, b"{}", ca=read_certificate(coordinator.config.parent / "keys/ca.crt")
            )
        except FedError as error:
            statuses.append("429" in str(error))
    assert any(statuses) and not statuses[0]


def test_strangers_can_not_keep_a_site_from_renewing(coordinator: Coordinator, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    enrol(coordinator, keys)
    for _ in range(60):
        with suppress(FedError):
            desk.ask(coordinator.address, b"{}", ca=read_certificate(keys / "ca.crt"))
    assert renewal_of(coordinator, keys).renew_if_due(datetime.now(UTC) + timedelta(days=61))


def test_three_files_enrol_a_hospital_without_a_line(tmp_path: Path) -> None:
    config = found(tmp_path / "coordinator")
    invitation, answer = tmp_path / "north.invitation", tmp_path / "north.certificate"
    invoke(server, "invite", NORTH, "--out", invitation, "--config", config)
    told = invoke(
        client, "enroll", "--invitation", invitation, "--out", tmp_path / "keys"
    ).stdout.splitlines()
    words, request = told[0].rpartition(": ")[2], tmp_path / "keys/request.json"
    assert str(request) in told[1] and invitation.stat().st_mode & 0o077 == 0
    invoke(
        server, "approve", NORTH, "--request", request, "--out", answer, "--words", words, "--config", config
    )
    invoke(client, "enroll", "--certificate", answer, "--out", tmp_path / "keys")
    certificate = read_certificate(tmp_path / "keys/tls.pem")
    assert verified_site(certificate, ca=read_certificate(tmp_path / "keys/ca.crt")) == NORTH


def test_a_ca_with_a_passphrase_signs_only_for_who_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "coordinator"
    monkeypatch.setattr("typer.prompt", lambda *_args, **_options: "correct horse")
    config = found(root, "--passphrase")
    assert b"ENCRYPTED" in (root / "keys/ca.key").read_bytes()
    before = (root / "keys/server/tls.crt").read_bytes()
    invoke(server, "ca", "rotate", "--config", config)
    assert (root / "keys/server/tls.crt").read_bytes() != before
    monkeypatch.setattr("typer.prompt", lambda *_args, **_options: "wrong")
    refused = invoke(server, "ca", "rotate", "--config", config, fails=True)
    assert "another passphrase" in str(refused.exception)
    assert load_trust_files(config).door().authority is None
    again = invoke(server, "ca", "init", "--host", "127.0.0.1", "--config", config, fails=True)
    assert "never overwritten" in str(again.exception)


# Renewal


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
