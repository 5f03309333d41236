"""A run's folder is right as a whole, or the first thing that isn't is named."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, EAST, MODEL, NORTH, RUN, SITES
from tests.released_models import SITE_SIGNS
from tests.server.runs import SETTINGS, Run, new_run

from fed_common import checkpoint as checkpoints
from fed_common.audit_log.facts import JournalWritten, PlanAsked
from fed_common.audit_log.log import AuditLog
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE, Manifest, SitePrivacy
from fed_common.errors import FedError, TrustError
from fed_common.messages import PlanStatement, RoundPlan, sealed_parts
from fed_common.names import Bytes, Digest, RunId
from fed_common.plans import Phase, Terms
from fed_common.signing import SigningKey
from fed_server.artefacts.verification import VerifiedRun, verify_run
from fed_server.config import audit_log_in
from fed_server.journal import Journal, RoundPublished, RunEvent, RunStarted, SiteAnswered
from fed_server.planner import Planner
from fed_server.run_folder import RunFolder

Damage = Callable[[RunFolder], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = new_run(tmp_path_factory.mktemp("runs"))
    run.start()
    return run.folder


@pytest.fixture
def folder(finished: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished.path, tmp_path / finished.run)
    shutil.copy(audit_log_in(finished.root).path, audit_log_in(tmp_path).path)
    return RunFolder(tmp_path, finished.run)


def verified(folder: RunFolder) -> VerifiedRun:
    return verify_run(folder, MODEL, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def test_a_run_that_nobody_touched_is_right(folder: RunFolder) -> None:
    found = verified(folder)
    assert [manifest.round for manifest in found.manifests] == [0, 1, 2]
    assert found.cosigners == tuple(sorted(SITES))
    assert found.asked == 3  # two rounds, and the evaluation after the second
    assert {(t.site, t.rounds, t.first, t.last) for t in found.manifests[-1].trained} == {
        (site, 2, 1, 2) for site in SITES
    }


def test_a_run_that_is_not_finished_is_right_so_far(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    settings = replace(SETTINGS, training=SETTINGS.training.model_copy(update={"averaging": "late"}))
    run.start(settings=settings)
    (run.folder.path / MANIFEST_FILE).unlink()
    found = verified(run.folder)
    assert (found.cosigners, found.asked) == ((), 3)


def test_a_site_that_was_away_is_in_the_rounds_that_it_was_in(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.offline.add(EAST)
    last = run.start()
    assert {trained.site for trained in last.manifest.trained} == set(SITES) - {EAST}
    verified(run.folder)


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_a_coordinator_that_sends_other_parameters_than_it_publishes_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """Off, without the audit log: journal, checkpoints and signatures of such a run are right."""
    honest = Planner.plan

    def crafted(
        self: Planner,
        number: int,
        known: Sequence[SitePrivacy],
        terms: Terms,
        parameters: Bytes,
        **others: Any,
    ) -> RoundPlan:
        if (number, terms.phase) == (2, phase):
            parameters = bytes(len(parameters))
        return honest(self, number, known, terms, parameters, **others)

    def sent(statement: PlanStatement, parameters: Bytes, key: SigningKey) -> tuple[bytes, Bytes]:
        asked = (statement.plan.round, statement.plan.phase)
        return sealed_parts(statement, bytes(len(parameters)) if asked == (2, phase) else parameters, key)

    monkeypatch.setattr(Planner, "plan", crafted)
    monkeypatch.setattr("fed_server.rounds.sealed_parts", sent)
    run = new_run(tmp_path)
    run.start()
    with pytest.raises(TrustError, match=f"round 2: the sites were asked to {phase} with other parameters"):
        verified(run.folder)
    run.log.path.unlink()
    assert verified(run.folder).asked == 0


@pytest.mark.parametrize(
    ("number", "phase"), [(3, "train"), (3, "evaluate"), (9, "train"), (1, "statistics")]
)
def test_sites_that_were_asked_what_no_round_did_are_seen(
    folder: RunFolder, number: int, phase: Phase
) -> None:
    """As to go on in secret after the end, with the finished model or any other."""
    last = checkpoints.load_manifest(folder.checkpoints / "0002", COORDINATOR_SIGNS)
    plan = Digest("0" * 64)
    asked = PlanAsked(run=folder.run, round=number, phase=phase, plan=plan, parameters=last.parameters)
    audit_log_in(folder.root).write("coordinator", asked)
    with pytest.raises(TrustError, match=f"round {number}: the sites were asked to {phase}, which no round"):
        verified(folder)
    (folder.path / MANIFEST_FILE).unlink()  # not finished, round 3 goes on
    if number == 3:
        assert verified(folder).asked == 4
    else:
        with pytest.raises(TrustError, match="which no round did"):
            verified(folder)


def test_rounds_that_the_audit_log_does_not_know_are_missed(folder: RunFolder) -> None:
    log = audit_log_in(folder.root)
    assert log.forget(before=1 << 40) > 0
    assert verified(folder).asked == 0, "what was let go isn't missed"
    log.path.unlink()
    AuditLog(log.path).write("coordinator", JournalWritten(run=folder.run, line=Digest("0" * 64)))
    with pytest.raises(TrustError, match="round 1: the audit log doesn't know that it was asked"):
        verified(folder)


def resigned(number: int, change: Callable[[Manifest], Manifest]) -> Damage:
    """Write a manifest anew, as who holds the coordinator's key could."""

    def damage(folder: RunFolder) -> None:
        path = folder.checkpoints / f"{number:04d}"
        manifest = change(checkpoints.load_manifest(path, COORDINATOR_SIGNS))
        (path / MANIFEST_FILE).write_bytes(checkpoints.sign_manifest(manifest, COORDINATOR_KEY).encode())

    return damage


def rewritten(journal: Journal, change: Callable[[RunEvent], RunEvent | None]) -> None:
    events = [change(event) for event in journal.read()]
    journal.path.unlink()
    for event in events:
        if event is not None:
            journal.write(event)


def flip_a_byte_of_the_model(folder: RunFolder) -> None:
    path = folder.checkpoints / "0001" / MODEL_FILE
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def forget_a_round(folder: RunFolder) -> None:
    rewritten(
        folder.journal,
        lambda event: None if isinstance(event, RoundPublished) and event.round == 1 else event,
    )


def tell_of_other_sites(folder: RunFolder) -> None:
    rewritten(
        folder.journal,
        lambda event: replace(event, sites=(NORTH,)) if isinstance(event, RoundPublished) else event,
    )


def tell_of_another_run(folder: RunFolder) -> None:
    rewritten(
        folder.journal,
        lambda event: replace(event, run=RunId("other")) if isinstance(event, RunStarted) else event,
    )


def tell_of_less_spent(folder: RunFolder) -> None:
    rewritten(
        folder.journal,
        lambda event: (
            replace(event, privacy=replace(event.privacy, epsilon=0.1))
            if isinstance(event, SiteAnswered)
            else event
        ),
    )


def tell_of_a_round_more(folder: RunFolder) -> None:
    told = [event for event in folder.journal.read() if isinstance(event, RoundPublished)]
    folder.journal.write(replace(told[-1], round=3))


def exchange_the_result(folder: RunFolder) -> None:
    for name in (MODEL_FILE, MANIFEST_FILE):
        shutil.copy(folder.checkpoints / "0001" / name, folder.path / name)


def lose_a_round(folder: RunFolder) -> None:
    shutil.rmtree(folder.checkpoints / "0001")


def lose_all(folder: RunFolder) -> None:
    shutil.rmtree(folder.checkpoints)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_byte_of_the_model, "round 1: .* not the file that the manifest names"),
        (lose_a_round, "round 1: .*not a whole checkpoint"),
        (lose_all, "holds no checkpoint"),
        (resigned(1, lambda m: replace(m, round=2)), "round 1: is that of round 2"),
        (resigned(0, lambda m: replace(m, previous=Digest("1" * 64))), "round 0: doesn't begin"),
        (resigned(1, lambda m: replace(m, classes=("a", "b"))), "round 2: doesn't follow"),
        (resigned(2, lambda m: replace(m, settings=Digest("x"))), "round 2: is of another run"),
        (resigned(2, lambda m: replace(m, test=None)), "round 2: is not the one"),
        (forget_a_round, "round 1: is not the one that the journal tells of"),
        (tell_of_other_sites, "round 1: is of other sites"),
        (tell_of_another_run, f"the journal is not that of {RUN}"),
        (tell_of_less_spent, "round 2: .* never stated this"),
        (tell_of_a_round_more, "round 3: the journal tells of it"),
        (exchange_the_result, "the result is not the last checkpoint"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(folder: RunFolder, damage: Damage, reason: str) -> None:
    damage(folder)
    with pytest.raises(TrustError, match=reason):
        verified(folder)


def test_a_stranger_s_signature_under_the_result_counts_for_nothing(folder: RunFolder) -> None:
    known = {NORTH: SITE_SIGNS[NORTH]}
    found = verify_run(folder, MODEL, coordinator=COORDINATOR_SIGNS, site_keys=known)
    assert found.cosigners == (NORTH,)
    with pytest.raises(FedError):
        verify_run(folder, MODEL, coordinator=SITE_SIGNS[NORTH], site_keys=SITE_SIGNS)


def test_a_run_survives_a_crash_between_checkpoint_and_journal(tmp_path: Path) -> None:
    run = Run(RunFolder.begin(tmp_path, "play"))
    run.start()
    journal = run.folder.journal.path
    lines = journal.read_bytes().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if b'"RoundPublished"' in line and b'"round":2' in line)
    journal.write_bytes(b"".join(lines[:cut]))
    run.start()
    verified(run.folder)
