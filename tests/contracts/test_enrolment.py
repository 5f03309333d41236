"""A hospital enrolls with the commands that people type, over TLS or by three files; nobody else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.open_desk import NORTH, Coordinator, enrol, found, invoke, opened_desk

from fed_client.cli import app as client
from fed_client.enrolment import desk
from fed_common.errors import FedError
from fed_common.pki.certificates import read_certificate, verified_site
from fed_common.pki.invitation import Invitation
from fed_server.cli import app as server
from fed_server.config import load_trust_files


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with opened_desk(tmp_path / "coordinator") as opened:
        yield opened


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
            statuses.append("HTTP 429" in str(error))
    assert any(statuses) and not statuses[0]


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
