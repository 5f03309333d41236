"""Another privacy officer comes by the hand of the one before, or by a line that everybody can read."""

import json
from pathlib import Path

import pytest
from tests.client.signed_sites import SPEND, charge, edited, held, officer_of, site_over, spent, started
from typer.testing import CliRunner

from fed_client.config import SiteConfig, read_site_config
from fed_client.ledger_commands import app as ledger_app
from fed_client.policy_commands import app, sign_site_file
from fed_client.signed_policy import known_officer
from fed_common import signed_fact
from fed_common.errors import ConfigError, FedError, LedgerError, MachineError, PrivacyError
from fed_common.key_files import write_officer_keys
from fed_common.ledger_record import LedgerRecord, OfficerChange
from fed_common.signing import SigningKey, VerifyingKey


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    """Return the site.toml of a site that was charged once under one officer; another is in `next`."""
    for name in ("officer", "next"):
        write_officer_keys(tmp_path / name, passphrase=None)
    path = site_over(tmp_path / "north", tmp_path / "images")
    sign_site_file(path, tmp_path / "officer" / "officer.key")
    charge(started(path))
    return path


def hand_over(site_file: Path, *how: str, to: str = "next") -> str:
    """Run the command; what it raises for `main` to print is raised here."""
    successor = site_file.parent.parent / to / "officer.pub"
    arguments = ["hand-over", "--to", str(successor), "--reason", "a new [post]", "--config", str(site_file)]
    result = CliRunner().invoke(app, [*arguments, *how])
    if isinstance(result.exception, FedError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def by(site_file: Path, name: str = "officer") -> tuple[str, str]:
    return "--key", str(site_file.parent.parent / name / "officer.key")


def signed_by_next(site_file: Path) -> SiteConfig:
    """Let site.toml name the next officer, have it signed by them, and start."""
    edited(site_file, "../officer/", "../next/")
    sign_site_file(site_file, site_file.parent.parent / "next" / "officer.key")
    return started(site_file)


def changes(site_file: Path) -> tuple[OfficerChange, ...]:
    config = read_site_config(site_file)
    return LedgerRecord.read(config.ledger, SigningKey.load(config.identity).verifying_key).changes


def test_by_the_hand_of_the_officer_before_the_next_one_signs_and_the_budget_stays(site_file: Path) -> None:
    old = VerifyingKey.load(read_site_config(site_file).officer)
    hand_over(site_file, *by(site_file))
    config = signed_by_next(site_file)
    charge(config)
    assert spent(config) == [SPEND, SPEND]
    (change,) = changes(site_file)
    signed_fact.verify_signature(change.succession, change.signature, old)


def test_the_officer_before_signs_no_more(site_file: Path, tmp_path: Path) -> None:
    hand_over(site_file, *by(site_file))
    sign_site_file(site_file, tmp_path / "officer" / "officer.key")
    with pytest.raises(PrivacyError, match="not the one that this site knows"):
        started(site_file)
    with pytest.raises(PrivacyError, match="not the one of the officer before"):
        hand_over(site_file, *by(site_file), to="officer")


def test_nobody_else_can_hand_over(site_file: Path, tmp_path: Path) -> None:
    write_officer_keys(tmp_path / "insider", passphrase=None)
    with pytest.raises(PrivacyError, match="not the one of the officer before"):
        hand_over(site_file, *by(site_file, "insider"), to="insider")
    assert changes(site_file) == ()
    assert officer_of(started(site_file)) == VerifyingKey.load(tmp_path / "officer/officer.pub").fingerprint


@pytest.mark.parametrize("how", [(), ("--lost", "--key", "officer.key")])
def test_a_lost_key_is_said_to_be_lost_and_never_just_left_out(site_file: Path, how: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="either --key"):
        hand_over(site_file, *how)
    assert changes(site_file) == ()


def test_a_change_without_a_reason_is_refused(site_file: Path) -> None:
    with pytest.raises(LedgerError, match="a reason of 1 to 300 characters is needed, got 1"):
        hand_over(site_file, "--lost", "--reason", " ")
    assert changes(site_file) == ()


def test_a_lost_key_leaves_a_line_that_ledger_and_exports_show_for_ever(site_file: Path) -> None:
    hand_over(site_file, "--lost")
    charge(signed_by_next(site_file))
    shown = CliRunner().invoke(ledger_app, ["show", "--config", str(site_file)]).output
    assert "WITHOUT the one before, whose key was lost: a new [post]" in " ".join(shown.split())
    found = CliRunner().invoke(ledger_app, ["show", "--json", "--config", str(site_file)]).output
    assert [change["signature"] for change in json.loads(found)["officers"]] == [""]


def test_without_the_note_in_the_state_the_ledger_still_knows_its_officer(site_file: Path) -> None:
    (read_site_config(site_file).state / "officer.json").unlink()
    config = signed_by_next(site_file)
    with pytest.raises(LedgerError, match="the ledger's officer is"), held(config):
        pass


def test_a_line_about_an_officer_cannot_be_taken_out_or_forged(site_file: Path) -> None:
    hand_over(site_file, "--lost")
    config = signed_by_next(site_file)
    whole = config.ledger.read_bytes()
    config.ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(LedgerError, match="older than its witness"), held(config):
        pass
    config.ledger.write_bytes(whole.replace(b"a new [post]", b"a fine [post]"))
    with pytest.raises(LedgerError, match="event 1: altered"), held(config):
        pass


def test_what_a_crash_left_half_done_is_ended_by_doing_it_again(site_file: Path) -> None:
    config = read_site_config(site_file)
    before = (config.state / "officer.json").read_bytes()
    hand_over(site_file, *by(site_file))
    (config.state / "officer.json").write_bytes(before)  # as if it had crashed after the ledger's line
    hand_over(site_file, *by(site_file))
    known = known_officer(config.state)
    assert known is not None
    assert known.officer == officer_of(signed_by_next(site_file))
    assert len(changes(site_file)) == 1


def test_a_running_daemon_is_stopped_first(site_file: Path) -> None:
    with held(started(site_file)), pytest.raises(MachineError, match="another fed-client is running"):
        hand_over(site_file, *by(site_file))
    assert changes(site_file) == ()


def test_before_the_first_start_there_is_nobody_to_hand_over(site_file: Path, tmp_path: Path) -> None:
    fresh = site_over(tmp_path / "fresh", tmp_path / "other-images", name="fresh")
    with pytest.raises(PrivacyError, match="knows no officer yet"):
        hand_over(fresh, *by(site_file))


def test_the_register_goes_with_the_office(site_file: Path, tmp_path: Path) -> None:
    hand_over(site_file, *by(site_file))
    signed_by_next(site_file)
    alias = site_over(tmp_path / "alias", tmp_path / "images", officer="../next/officer.pub", name="alias")
    with pytest.raises(PrivacyError, match="a second ledger would be a second budget"):
        sign_site_file(alias, tmp_path / "next" / "officer.key")
