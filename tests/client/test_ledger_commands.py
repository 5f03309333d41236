"""What a privacy officer and an auditor are told of a ledger, and what they are told when it doesn't hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from tests.client.site_files import write_site, write_tables
from tests.fakes import (
    NORTH,
    POLICY,
    RUN,
    SITE_KEYS,
    StepCounter,
    held_ledger,
    new_key,
)
from typer.testing import CliRunner

from fed_client.deidentification import Pseudonym
from fed_client.ledger_commands import app
from fed_client.ledger_export import LedgerExport, export_ledger, verify_export
from fed_client.policy_commands import sign_site_file
from fed_client.withdrawal.withdrawn import note_withdrawn, read_withdrawn
from fed_common import signed_fact
from fed_common.accounting import Spend
from fed_common.errors import ConfigError, FedError, LedgerError, PrivacyError, TrustError
from fed_common.key_files import pem, write_officer_keys, write_private
from fed_common.ledger_record import LedgerRecord, read_lines
from fed_common.names import RunId

SPEND = Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2)
COUNTS = Spend(noise_multiplier=4.0, sampling_rate=1.0, steps=1)
KEY = SITE_KEYS[NORTH]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A site whose ledger holds two runs: three rounds and an evaluation, then one round."""
    write_officer_keys(tmp_path / "officer", passphrase=None)
    path = write_site(tmp_path, identity=KEY, policy={"epsilon": 20.0})
    sign_site_file(path, tmp_path / "officer/officer.key")
    with held_ledger(tmp_path / "state", witness=tmp_path / "witness") as ledger:
        for number in (1, 2, 3):
            ledger.charge(RUN, number, "train", SPEND)
        ledger.charge(RUN, 3, "evaluate", COUNTS)
        ledger.charge(RunId("run-2"), 1, "train", replace(SPEND, steps=7))
    return path


def run(*arguments: object) -> str:
    """Return what a command prints; what it raises for `main` to print is raised here."""
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, list(map(str, arguments)))
    if isinstance(result.exception, FedError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def ledger_of(config: Path) -> Path:
    return config.parent / "state/ledger/ledger.jsonl"


def test_show_says_what_each_run_cost_and_never_a_bare_epsilon(config: Path) -> None:
    shown = run("show", "--config", config)
    first, last = (next(line for line in shown.splitlines() if run in line) for run in ("run-1", "run-2"))
    assert "1-3" in first and "noise 4, rate 0.5, 6 steps" in first
    assert "7 steps" in last
    for word in ("delta 1e-05", "5 releases", "patient", "Adversary", "Sampling", "PLD", "Ledger"):
        assert word in shown


def test_the_json_of_show_adds_up(config: Path) -> None:
    found = json.loads(run("show", "--json", "--config", config))
    assert [spent["run"] for spent in found["runs"]] == ["run-1", "run-2"]
    assert [made["releases"] for spent in found["runs"] for made in spent["releases"]] == [3, 1, 1]
    assert found["runs"][-1]["epsilon_after"] == found["privacy"]["epsilon"]
    assert 0 < found["runs"][0]["epsilon_after"] < found["privacy"]["epsilon"] < found["budget"] == 20.0


def test_verify_passes_what_is_whole(config: Path) -> None:
    assert "5 lines: signatures and chain are right" in run("verify", "--config", config)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: raw.replace(b'"steps":7', b'"steps":1'), "event 4"),
        (lambda raw: raw.replace(b'"round":2', b'"round":9'), "event 1"),
        (lambda raw: b"".join(raw.splitlines(keepends=True)[1:]), "event 0"),
        (lambda raw: b"".join(raw.splitlines(keepends=True)[:-1]), "has seen 5 events"),
    ],
)
def test_verify_names_the_first_bad_line(config: Path, spoil: Callable[[bytes], bytes], says: str) -> None:
    ledger_of(config).write_bytes(spoil(ledger_of(config).read_bytes()))
    with pytest.raises(LedgerError, match=says) as refused:
        run("verify", "--config", config)
    assert refused.value.exit_code == 4


def test_an_export_is_verified_with_the_public_key_alone(config: Path, tmp_path: Path) -> None:
    run("export", "--config", config, "--out", tmp_path / "export.json")
    public = tmp_path / "identity.pub"
    public.write_bytes(KEY.verifying_key.pem)
    checked = run("verify", tmp_path / "export.json", "--key", public)
    assert "5 lines, signatures and chain are right" in checked and "of 20 at delta" in checked


def exported(config: Path) -> LedgerExport:
    lines, _ = read_lines(ledger_of(config))
    raw = export_ledger(lines, site=NORTH, key=KEY, policy=POLICY, accountants=[StepCounter()])
    assert verify_export(raw, KEY.verifying_key, [StepCounter()]).record == LedgerRecord.of(
        lines, KEY.verifying_key
    )
    return signed_fact.verify(raw.removesuffix(b"\n"), LedgerExport, KEY.verifying_key)


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (lambda export: replace(export, lines=export.lines[:-1]), "another head"),
        (lambda export: replace(export, lines=export.lines[1:]), "event 0"),
        (lambda export: replace(export, privacy=replace(export.privacy, epsilon=1.0)), "lines cost 14"),
        (lambda export: replace(export, privacy=replace(export.privacy, releases=4)), "number of releases"),
    ],
)
def test_an_export_whose_totals_are_not_those_of_its_lines_is_refused(
    config: Path, forge: Callable[[LedgerExport], LedgerExport], says: str
) -> None:
    forged = signed_fact.sign(forge(exported(config)), KEY) + b"\n"
    with pytest.raises(LedgerError, match=says):
        verify_export(forged, KEY.verifying_key, [StepCounter()])


def test_an_export_of_another_hospital_is_refused(config: Path) -> None:
    raw = signed_fact.sign(exported(config), new_key())
    with pytest.raises(LedgerError, match="owner of this key"):
        verify_export(raw, KEY.verifying_key, [StepCounter()])


PROPOSAL: dict[str, dict[str, object]] = {
    "federation": {"name": "next", "task": "task.toml", "runs": "runs"},
    "training": {"rounds": 4, "steps_per_round": 2, "learning_rate": 1.0},
    "privacy": {"epsilon": 12.0, "sampling_rate": 0.5, "noise_multiplier": 3.0},
    "evaluation": {"every": 4},
    "quorum": {"sites": 1},
}


def test_plan_adds_a_proposed_run_to_what_was_spent_and_charges_nothing(config: Path) -> None:
    proposal = config.parent / "federation.toml"
    proposal.write_text(tomli_w.dumps(PROPOSAL))
    before = ledger_of(config).read_bytes()
    found = json.loads(run("plan", proposal, "--json", "--config", config))
    assert found["cost"]["steps"] == 8 and found["cost"]["evaluations"] == 1
    assert found["outlook"]["spent"] == found["privacy"]["epsilon"] > 0
    assert found["outlook"]["afterwards"] > max(found["outlook"]["spent"], found["cost"]["epsilon"])
    assert found["outlook"]["fits"] == (found["outlook"]["runs"] >= 1) is True
    assert ledger_of(config).read_bytes() == before
    write_tables(config, policy={"epsilon": 20.0}, data={"file_is_patient": True})
    shown = run("plan", proposal, "--config", config)
    for word in ("delta 1e-05 per image file", "PLD", "budget", "after the run"):
        assert word in shown


def test_a_proposal_that_does_not_keep_its_own_epsilon_is_refused(config: Path) -> None:
    proposal = config.parent / "federation.toml"
    proposal.write_text(tomli_w.dumps(PROPOSAL | {"privacy": PROPOSAL["privacy"] | {"epsilon": 0.5}}))
    with pytest.raises(ConfigError, match="noise_multiplier 3 spends"):
        run("plan", proposal, "--config", config)


def test_where_a_file_stands_for_a_patient_no_word_says_patient(config: Path) -> None:
    write_tables(config, policy={"epsilon": 20.0}, data={"file_is_patient": True})
    with held_ledger(config.parent / "state", witness=config.parent / "witness", unit="image file") as ledger:
        ledger.charge(RunId("run-3"), 1, "train", SPEND)
    run("export", "--config", config, "--out", config.parent / "export.json")
    (config.parent / "identity.pub").write_bytes(KEY.verifying_key.pem)
    assert "Unit: image file." in run("show", "--config", config)
    assert json.loads(run("show", "--json", "--config", config))["privacy"]["unit"] == "image file"
    exported = config.parent / "export.json"
    assert "Unit: image file." in run("verify", exported, "--key", config.parent / "identity.pub")


def test_only_a_reset_by_the_officer_begins_another_budget(config: Path) -> None:
    old = LedgerRecord.read(ledger_of(config), KEY.verifying_key).head
    officer = config.parent / "officer/officer.key"
    printed = run("reset", "--key", officer, "--reason", "a new [year]", "--config", config)
    assert f"in place of a ledger of 5 lines ({old.digest[:12]}): a new [year]" in printed
    shown = run("show", "--config", config)
    assert "0 releases" in shown and "a new [year]" in shown
    assert "1 lines: signatures and chain are right" in run("verify", "--config", config)


def test_a_reset_for_a_site_with_a_new_key_keeps_who_withdrew(config: Path) -> None:
    patient = Pseudonym("a" * 64)
    note_withdrawn(config.parent / "state", [patient], KEY)
    identity, former, anew = config.parent / "keys/identity.key", config.parent / "former.pub", new_key()
    former.write_bytes(KEY.verifying_key.pem)
    identity.unlink()
    write_private(identity, pem(anew.key))
    with pytest.raises(TrustError, match="--former-identity"):
        read_withdrawn(config.parent / "state", anew.verifying_key)
    officer = ("--key", config.parent / "officer/officer.key", "--reason", "the key was stolen")
    before = ledger_of(config).read_bytes()
    with pytest.raises(TrustError, match="not this site's"):
        run("reset", *officer, "--former-identity", config.parent / "officer/officer.pub", "--config", config)
    assert ledger_of(config).read_bytes() == before, "a new budget that the coordinator would refuse"
    printed = run("reset", *officer, "--former-identity", former, "--config", config)
    assert "the list of the 1 patients who withdrew is signed with the new key" in printed
    assert read_withdrawn(config.parent / "state", anew.verifying_key) == {patient}
    assert "1 lines: signatures and chain are right" in run("verify", "--config", config)


def test_a_reset_by_another_key_is_refused(config: Path, tmp_path: Path) -> None:
    write_officer_keys(tmp_path / "insider", passphrase=None)
    before = ledger_of(config).read_bytes()
    with pytest.raises(PrivacyError, match="not the one of"):
        run("reset", "--key", tmp_path / "insider/officer.key", "--reason", "mine", "--config", config)
    assert ledger_of(config).read_bytes() == before


def test_without_a_witness_the_officer_names_the_head(config: Path) -> None:
    officer = config.parent / "officer/officer.key"
    (config.parent / "witness").unlink()
    with pytest.raises(LedgerError, match="name the --head"):
        run("reset", "--key", officer, "--reason", "both disks died", "--config", config)
    with pytest.raises(ConfigError, match="LINES:DIGEST"):
        run("reset", "--key", officer, "--reason", "r", "--head", "5", "--config", config)
    named = f"7:{'a' * 64}"
    printed = run("reset", "--key", officer, "--reason", "r", "--head", named, "--config", config)
    assert "a ledger of 7 lines" in printed
