"""The coordinator's log vouches for journal and register, and an auditor can lay sites' logs beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tomli_w
from tests.fakes import COORDINATOR_KEY, NORTH, new_key
from tests.server.authority.enrolling import CA, enrol
from tests.server.runs import Run, new_run
from tests.server.test_status import FEDERATION
from typer.testing import CliRunner

from fed_common.audit_log.commands import verify_logs
from fed_common.audit_log.facts import PlanAccepted, PlanAsked, RegisterWritten
from fed_common.audit_log.handed_out import CheckedLog, export_log
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError, FedError, TrustError
from fed_common.key_files import pem, write_private
from fed_common.names import Digest, digest_of
from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import SigningKey
from fed_server.audit_commands import app, coordinator_of
from fed_server.coordinator_log import CoordinatorLog
from fed_server.journal import RunFinished
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry
from fed_server.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """A coordinator whose run is finished, with one enrolled site."""

    folder: Path
    run: Run
    registry: Registry
    north: SigningKey

    def audit(self, *arguments: object) -> str:
        """Return what a command prints; what it raises for `main` to print is raised here."""
        words = [*map(str, arguments), "--config", str(self.folder / "federation.toml")]
        result = CliRunner(env={"COLUMNS": "120"}).invoke(app, words)
        if isinstance(result.exception, FedError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def coordinator(tmp_path: Path) -> Coordinator:
    files = dict.fromkeys(("host", "ca", "certificate", "key"), "none") | {"identity": "identity.key"}
    (tmp_path / "federation.toml").write_text(tomli_w.dumps(FEDERATION | {"server": {**files, "port": 1}}))
    write_private(tmp_path / "identity.key", pem(COORDINATOR_KEY.key))
    run = new_run(tmp_path / "runs")
    registry = Registry(folder=tmp_path / "registry", key=COORDINATOR_KEY, log=run.log)
    keys = KeyFolder(path=tmp_path / "north")
    keys.make()
    enrol(Admissions(registry=registry, ca=CA.certificate), keys)
    run.start()
    north = SigningKey.load(tmp_path / "north/identity.key")
    return Coordinator(folder=tmp_path, run=run, registry=registry, north=north)


def norths_copy(coordinator: Coordinator, change: Callable[[PlanAccepted], PlanAccepted]) -> Path:
    """Return an export of north's log, which accepted all that the coordinator asked, but for `change`."""
    asked = [line.fact for line in coordinator.run.log.read() if isinstance(line.fact, PlanAsked)]
    log = AuditLog(coordinator.folder / "site.jsonl")
    for fact in asked:
        accepted = PlanAccepted(
            run=fact.run,
            round=fact.round,
            phase=fact.phase,
            plan=fact.plan,
            parameters=fact.parameters,
            coordinator=coordinator.run.log.head(),
        )
        log.write(NORTH, change(accepted))
    path = coordinator.folder / "north.json"
    path.write_bytes(export_log(CheckedLog(owner=NORTH, lines=log.read()), coordinator.north))
    return path


def test_every_line_of_journal_and_register_is_vouched_for(coordinator: Coordinator) -> None:
    assert "every entry follows the one before it" in coordinator.audit("verify")
    logged = [line.fact for line in coordinator.run.log.read()]
    registered = [fact.line for fact in logged if isinstance(fact, RegisterWritten)]
    assert tuple(registered) == coordinator.registry.digests(NORTH)
    assert len(registered) == 3


def without_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))


@pytest.mark.parametrize("number", [0, -2])
def test_a_line_taken_out_of_the_journal_is_missed(coordinator: Coordinator, number: int) -> None:
    path = coordinator.run.folder.journal.path
    without_line(path, number % len(path.read_bytes().splitlines()))
    with pytest.raises(TrustError, match="the journal of run-1: 1 lines that the log vouches for are gone"):
        coordinator.audit("verify")


def test_a_line_put_into_the_journal_is_seen(coordinator: Coordinator) -> None:
    coordinator.run.folder.journal.write(RunFinished(rounds=9))
    with pytest.raises(TrustError, match="1 lines were never in the log"):
        coordinator.audit("verify")


def test_a_revocation_cut_off_the_register_is_missed(coordinator: Coordinator) -> None:
    Admissions(registry=coordinator.registry, ca=CA.certificate).revoke(NORTH, "stolen")
    without_line(coordinator.registry.folder / "north.jsonl", 3)
    # Off: the register by itself is whole, and north is in again.
    assert coordinator.registry.standing(NORTH).state == "enrolled"
    with pytest.raises(TrustError, match="the register of north: 1 lines"):
        coordinator.audit("verify")


def test_what_a_crash_kept_back_of_journal_and_register_is_noted_later(coordinator: Coordinator) -> None:
    coordinator.run.folder.journal.write(RunFinished(rounds=9))
    unlogged = replace(coordinator.registry, log=None)
    Admissions(registry=unlogged, ca=CA.certificate).revoke(NORTH, "stolen")
    coordinator.run.start()
    coordinator.registry.catch_up()
    coordinator.registry.catch_up()
    assert "every entry" in coordinator.audit("verify")
    registered = [f.fact for f in coordinator.run.log.read() if isinstance(f.fact, RegisterWritten)]
    assert len(registered) == 4


def test_what_a_crash_kept_back_is_noted_when_another_run_begins(coordinator: Coordinator) -> None:
    first = coordinator.run.folder
    first.journal.write(RunFinished(rounds=9))
    with first.journal.path.open("ab") as journal:
        journal.write(b'{"at":1,"event":"RunFin')  # torn by the same crash
    with pytest.raises(TrustError, match="the journal of run-1: 1 lines were never in the log"):
        coordinator.audit("verify")
    Run(RunFolder.begin(first.root, "play")).start()
    assert "every entry" in coordinator.audit("verify")


def test_what_was_forgotten_is_not_noted_again(coordinator: Coordinator) -> None:
    coordinator.run.log.forget(before=1 << 40)
    size = coordinator.run.log.head().size
    CoordinatorLog(coordinator.run.log).catch_up([coordinator.run.folder])
    coordinator.registry.catch_up()
    assert coordinator.run.log.head().size == size


def test_a_run_that_goes_on_while_its_log_is_checked_raises_no_alarm(coordinator: Coordinator) -> None:
    owner = coordinator_of(coordinator.folder / "federation.toml")
    read = owner.checked()
    coordinator.run.start()
    assert coordinator.run.log.head().size > read.head.size
    assert not owner.missing(read)


def test_a_site_s_copy_that_agrees_is_told_so(coordinator: Coordinator) -> None:
    printed = coordinator.audit("verify", norths_copy(coordinator, lambda accepted: accepted))
    assert "2 logs agree on the heads and the plans that they share" in printed
    assert coordinator.north.verifying_key.spoken in printed


def test_a_site_s_copy_that_was_asked_something_else_is_a_contradiction(coordinator: Coordinator) -> None:
    def fished(accepted: PlanAccepted) -> PlanAccepted:
        other = digest_of(b"for north alone")
        return replace(accepted, plan=other) if accepted.round == 2 else accepted

    with pytest.raises(TrustError, match="which wasn't in the coordinator's log when it was asked"):
        coordinator.audit("verify", norths_copy(coordinator, fished))


def test_a_site_that_has_seen_another_log_is_a_contradiction(coordinator: Coordinator) -> None:
    def rewritten(accepted: PlanAccepted) -> PlanAccepted:
        return replace(accepted, coordinator=replace(accepted.coordinator, root=Digest("0" * 64)))

    with pytest.raises(TrustError, match="rewritten, or cut"):
        coordinator.audit("verify", norths_copy(coordinator, rewritten))


def test_a_copy_signed_by_another_than_it_says_is_refused(coordinator: Coordinator) -> None:
    log = CheckedLog(owner="south", lines=coordinator.run.log.read())
    path = coordinator.folder / "copy.json"
    path.write_bytes(export_log(log, coordinator.north))
    with pytest.raises(TrustError, match="says that it is south's, another has signed it"):
        coordinator.audit("verify", path)
    path.write_bytes(export_log(log, new_key()))
    with pytest.raises(TrustError, match="--key"):
        coordinator.audit("verify", path)


def test_an_auditor_needs_public_keys_alone(coordinator: Coordinator) -> None:
    copy, entry, growth = (coordinator.folder / name for name in ("copy.json", "entry.json", "growth.json"))
    coordinator.audit("export", "--out", copy)
    coordinator.audit("prove", "--entry", 2, "--out", entry)
    coordinator.audit("prove", "--grown-from", 3, "--out", growth)
    key = coordinator.folder / "identity.pub"
    key.write_bytes(COORDINATOR_KEY.verifying_key.pem)
    files = list(map(str, (copy, entry, growth)))
    nowhere = ["--config", str(coordinator.folder / "none.toml")]
    printed = CliRunner().invoke(app, ["verify", *files, "--key", f"coordinator={key}", *nowhere]).output
    assert "every entry holds" in printed
    assert "has entry 2, RegisterWritten of " in printed
    assert "grew out of 3 entries" in printed


def test_a_log_is_its_signer_s_whatever_it_says(coordinator: Coordinator) -> None:
    """Off, a rewritten log under another name is compared with none of the heads that sites have seen."""
    copy, key = coordinator.folder / "copy.json", coordinator.folder / "identity.pub"
    copy.write_bytes(export_log(CheckedLog(owner="coordinator-2026", lines=()), COORDINATOR_KEY))
    key.write_bytes(COORDINATOR_KEY.verifying_key.pem)
    with pytest.raises(TrustError, match="coordinator-2026's, another has signed it: coordinator"):
        verify_logs(None, [copy], [("coordinator", COORDINATOR_KEY.verifying_key)])
    with pytest.raises(ConfigError, match="NAME=FILE"):
        coordinator.audit("verify", copy, "--key", key)


def test_a_proof_is_of_one_thing(coordinator: Coordinator) -> None:
    for arguments in ((), ("--entry", 1, "--grown-from", 1), ("--entry", 10**6)):
        with pytest.raises(ConfigError):
            coordinator.audit("prove", *arguments, "--out", coordinator.folder / "proof.json")


def test_show_tells_the_newest_entries_in_words(coordinator: Coordinator) -> None:
    shown = coordinator.audit("show", "--last", 5).splitlines()
    assert len(shown) == 5
    assert "coordinator JournalWritten: run run-1, line " in shown[-1]
    assert coordinator.audit("show", "--json", "--last", 1).startswith('{"entry":{"actor":"coordinator"')


def test_what_is_forgotten_is_still_vouched_for(coordinator: Coordinator) -> None:
    assert "0 entries" in coordinator.audit("forget", "--older-than-days", 1)
    assert coordinator.run.log.forget(before=1 << 40) > 0
    assert "every entry" in coordinator.audit("verify")
    coordinator.run.folder.journal.write(RunFinished(rounds=9))
    with pytest.raises(TrustError, match="1 lines were never in the log"):
        coordinator.audit("verify")
    with pytest.raises(ConfigError, match="at least 1"):
        coordinator.audit("forget", "--older-than-days", 0)
