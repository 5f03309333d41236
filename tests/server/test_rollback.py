"""A run with a vote publishes the last model that stood instead of a worse one, signed and in the chain."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    EAST,
    NORTH,
    SITES,
    SOUTH,
    ObedientSite,
    answer_to,
)
from tests.released_models import SITE_SIGNS
from tests.server.masking.test_masked_run import MASKED, masked_run
from tests.server.runs import SETTINGS, Crash, Run, new_run
from typer.testing import CliRunner

from fed_common import checkpoint as checkpoints
from fed_common.canonical import digest
from fed_common.checkpoint import MANIFEST_FILE, Manifest
from fed_common.errors import TrustError
from fed_common.messages import PlanStatement, is_step, unseal
from fed_common.metrics import EvaluationCounts
from fed_common.names import SiteName
from fed_common.plans import EvaluationTerms
from fed_common.proposal import EvaluationTable
from fed_common.vote import Rollback
from fed_server.artefacts.verification import verify_run
from fed_server.averaging import Averaging
from fed_server.cli import app
from fed_server.journal import CandidateDropped, RoundPublished, RunEvent
from fed_server.report import render_report
from fed_server.settings import RunSettings


def voting(settings: RunSettings = SETTINGS, *, averaging: Averaging = "none") -> RunSettings:
    """Return settings for four rounds, of which the second and the fourth are measured."""
    return replace(
        settings,
        training=settings.training.model_copy(update={"rounds": 4, "averaging": averaging}),
        evaluation=EvaluationTable(every=2, noise_multiplier=4.0),
        aggregation=settings.aggregation.model_copy(update={"vote": True}),
    )


def disappointed(site: Callable[[bytes], bytes], name: SiteName, *, after: int) -> Callable[[bytes], bytes]:
    """Return the site, which from round `after` on finds that the model tells nobody apart."""

    def answer(payload: bytes) -> bytes:
        if is_step(payload):
            return site(payload)
        plan = unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan
        if not isinstance(plan.terms, EvaluationTerms) or plan.round < after:
            return site(payload)
        even_B = np.full(plan.terms.bins, 500 / plan.terms.bins)
        counts = EvaluationCounts(negatives_B=even_B, positives_B=even_B, noise_std=0.0)
        return answer_to(plan, counts.to_vector(), site=name)

    return answer


def disappoint(run: Run, *names: SiteName, after: int = 4) -> None:
    run.sites.update({name: disappointed(run.sites[name], name, after=after) for name in names})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def test_a_worse_candidate_is_published_without_a_vote(run: Run) -> None:
    """The defence is off: what the sites find changes nothing."""
    disappoint(run, *SITES)
    settings = voting()
    without = settings.aggregation.model_copy(update={"vote": False})
    last = run.start(settings=replace(settings, aggregation=without))
    assert not np.array_equal(last.parameters_P, run.chain()[2].parameters_P)
    assert last.manifest.rollback is None and last.manifest.standing is None


@pytest.mark.parametrize("averaging", ["none", "late"])
def test_a_worse_candidate_is_dropped_and_the_chain_says_so(run: Run, averaging: Averaging) -> None:
    disappoint(run, SOUTH, EAST)
    last = run.start(settings=voting(averaging=averaging))
    chain = run.chain()
    assert last.manifest.rollback == Rollback(to=2, worse=(EAST, SOUTH))
    assert np.array_equal(last.parameters_P, chain[2].parameters_P)
    assert not np.array_equal(last.parameters_P, chain[3].parameters_P)
    assert [link.manifest.previous for link in chain[1:]] == [link.digest for link in chain[:-1]]
    second_P, fourth_P = (
        checkpoints.load_iterate(run.folder.checkpoint(number), chain[number], voting().model)
        for number in (2, 4)
    )
    assert np.array_equal(second_P, fourth_P)


def test_the_journal_and_the_report_tell_what_the_sites_found_of_the_candidate(run: Run) -> None:
    disappoint(run, *SITES)
    run.start(settings=voting())
    events = run.folder.journal.read()
    (dropped,) = (event for event in events if isinstance(event, CandidateDropped))
    assert (dropped.round, dropped.rollback.to, dropped.rollback.worse) == (4, 2, (EAST, NORTH, SOUTH))
    assert [row.site for row in dropped.federated] == [None, EAST, NORTH, SOUTH]
    published = {event.round: event for event in events if isinstance(event, RoundPublished)}
    assert published[2].federated and not published[4].federated
    assert "The model of round 2 stands again" in render_report(events, None)


def test_whoever_verifies_the_model_is_told(run: Run, tmp_path: Path) -> None:
    disappoint(run, *SITES)
    run.start(settings=voting())
    key, task = tmp_path / "identity.pub", tmp_path / "task.toml"
    key.write_bytes(COORDINATOR_SIGNS.pem)
    task.write_text('name = "play"\nclasses = ["healthy", "sick"]\npositive = "sick"\n')
    command = ["verify", str(run.folder.path), "--key", str(key), "--task", str(task)]
    told = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "rolled back: the model of round 2, because east, north, south" in told.output


def verify(run: Run) -> None:
    verify_run(run.folder, voting().model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def test_a_run_with_a_rollback_is_right_as_a_whole(run: Run) -> None:
    disappoint(run, *SITES)
    last = run.start(settings=voting())
    verify(run)
    assert {trained.last for trained in last.manifest.trained} == {2}  # whom the model is made of


def about(manifest: Manifest, event: RunEvent) -> RunEvent:
    """Return the event; the one that tells of the manifest's round names its digest."""
    if isinstance(event, RoundPublished) and event.round == manifest.round:
        return replace(event, checkpoint=digest(manifest))
    return event


@pytest.mark.parametrize("to", [3, 1, -1, 9])
def test_a_rollback_to_another_round_than_it_says_is_found(run: Run, to: int) -> None:
    disappoint(run, *SITES)
    last = run.start(settings=voting())
    forged = replace(last.manifest, rollback=Rollback(to=to, worse=SITES))
    for folder in (run.folder.checkpoint(4), run.folder.path):
        (folder / MANIFEST_FILE).write_bytes(checkpoints.sign_manifest(forged, COORDINATOR_KEY).encode())
    journal = run.folder.journal
    events = journal.read()
    journal.path.unlink()
    for event in events:
        journal.write(about(forged, event))
    with pytest.raises(TrustError, match="round 4: isn't the model that it is said to be rolled back to"):
        verify(run)


def test_a_minority_drops_nothing_and_the_next_vote_is_about_the_new_model(run: Run) -> None:
    disappoint(run, NORTH, EAST)  # 12 of 28 patients
    last = run.start(settings=voting())
    assert last.manifest.rollback is None
    assert last.manifest.standing is not None and last.manifest.standing.round == 4


def test_training_goes_on_from_what_stands(run: Run) -> None:
    north = run.sites[NORTH]
    assert isinstance(north, ObedientSite)
    disappoint(run, *SITES)
    settings = voting()
    longer = replace(settings, training=settings.training.model_copy(update={"rounds": 5}))
    run.start(settings=longer)
    chain = run.chain()
    assert [link.manifest.rollback is not None for link in chain] == [False, False, False, False, True, True]
    (fifth,) = (plan for plan in north.plans if (plan.round, plan.phase) == (5, "train"))
    assert fifth.parameters == chain[5].manifest.parameters == chain[2].manifest.parameters


@pytest.mark.parametrize("kind", [CandidateDropped, RoundPublished])
def test_a_crash_around_the_rollback_changes_nothing(tmp_path: Path, kind: type[RunEvent]) -> None:
    whole, crashed = new_run(tmp_path / "whole"), new_run(tmp_path / "crashed")
    for run in (whole, crashed):
        disappoint(run, *SITES)
    expected = whole.start(settings=voting())

    def crash(event: RunEvent) -> None:
        if isinstance(event, kind) and getattr(event, "round", 0) == 4:
            raise Crash

    with pytest.raises(Crash):
        crashed.start(settings=voting(), observer=crash)
    assert crashed.start(settings=voting()).digest == expected.digest
    assert [link.digest for link in crashed.chain()] == [link.digest for link in whole.chain()]


def test_masked_rounds_are_rolled_back_alike(tmp_path: Path) -> None:
    run, _ = masked_run(tmp_path)
    disappoint(run, *SITES)
    last = run.start(settings=voting(MASKED))
    assert last.manifest.rollback == Rollback(to=2, worse=(EAST, NORTH, SOUTH))
    assert np.array_equal(last.parameters_P, run.chain()[2].parameters_P)
