"""A run of masked rounds ends with the model of plain ones, and loses one round to a broken sum."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_SIGNS,
    EAST,
    FIRST_P,
    NUM_PARAMETERS,
    SITE_KEYS,
    SITES,
    ObedientSite,
    answer_to,
)
from tests.masked_sessions import key_of, names
from tests.server.masking.masked_sites import MaskingSite
from tests.server.runs import SETTINGS, Crash, CrashAt, Run, new_run

from fed_common.audit_log.comparison import COORDINATOR, contradictions
from fed_common.audit_log.facts import PlanAsked
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import ConfigError, QuorumError
from fed_common.masking.ring import smallest_ring
from fed_common.messages import PlanStatement, Refusal, RefusalCode, Step, StepAnswer, is_step, unseal
from fed_common.names import RunId, SiteName, body_digest, digest_of
from fed_common.plans import SiteTerms
from fed_server.journal import RoundPublished, RunStarted, SiteFailed, SumAbandoned
from fed_server.lineage import Lineage
from fed_server.planner import Planner
from fed_server.settings import AggregationTable, QuorumTable

# A clip so wide, and noise so fine, that the sum needs 64 bits, and the grid is that of plain updates.
MASKED = replace(
    SETTINGS,
    aggregation=AggregationTable(),
    training=SETTINGS.training.model_copy(update={"learning_rate": 0.001}),
    privacy=SETTINGS.privacy.model_copy(update={"update_clip": 1e4}),
)
VALUE = 0.001


class Hospital:
    """Masks updates and releases counts; forgets its sessions when `restart` is called."""

    def __init__(self, name: SiteName, folder: Path) -> None:
        self.masking = MaskingSite(
            name=name, update_P=np.full(NUM_PARAMETERS, VALUE), folder=folder, key=SITE_KEYS[name]
        )
        self.counting = ObedientSite(name, value=VALUE)

    def __call__(self, payload: bytes) -> bytes:
        if is_step(payload) or unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan.masking:
            return self.masking(payload)
        return self.counting(payload)


def masked_run(root: Path) -> tuple[Run, dict[SiteName, Hospital]]:
    run = new_run(root)
    hospitals = {name: Hospital(name, root / "hospitals") for name in SITES}
    run.sites = dict[SiteName, Callable[[bytes], bytes]](hospitals)
    return run, hospitals


def test_a_masked_run_ends_with_the_bytes_of_a_plain_one(tmp_path: Path) -> None:
    assert smallest_ring(MASKED.train_terms(), MASKED.cohort).bits == 64
    run, hospitals = masked_run(tmp_path / "masked")
    masked = run.start(settings=MASKED)
    plain = new_run(tmp_path / "plain").start(settings=replace(MASKED, aggregation=SETTINGS.aggregation))
    assert np.array_equal(masked.parameters_P, plain.parameters_P)
    assert not np.array_equal(masked.parameters_P, FIRST_P)
    started, *_ = (event for event in run.folder.journal.read() if isinstance(event, RunStarted))
    assert (started.masked, started.quorum) == (True, 3)  # of two, a sum would hide nobody
    steps: list[Step] = ["advertise", "share", "mask", "confirm", "unmask"]
    assert all(hospital.masking.steps == 2 * steps for hospital in hospitals.values())


@pytest.mark.parametrize("number", range(1, 14))
def test_a_crash_at_any_event_loses_nothing_or_one_round(tmp_path: Path, number: int) -> None:
    run, hospitals = masked_run(tmp_path)
    with pytest.raises(Crash):
        run.start(settings=MASKED, observer=CrashAt(number))
    for hospital in hospitals.values():
        hospital.masking.restart()
    last = run.start(settings=MASKED)
    lost = sum(isinstance(event, SumAbandoned) for event in run.folder.journal.read())
    assert last.manifest.round == 2 and lost <= 1
    assert np.allclose(last.parameters_P, FIRST_P + (2 - lost) * VALUE, atol=1e-6)


def lying_once(hospital: Hospital, number: int) -> None:
    """Make the site's answer to the first so many confirmations worthless."""
    left = [number]

    def tamper(step: Step, message: bytes) -> bytes:
        if step == "confirm" and left[0]:
            left[0] -= 1
            return b"garbage"
        return message

    hospital.masking.tamper = tamper


def test_a_sum_that_breaks_costs_a_round_and_leaves_the_model(tmp_path: Path) -> None:
    run, hospitals = masked_run(tmp_path)
    lying_once(hospitals[EAST], 1)
    last = run.start(settings=MASKED)
    events = run.folder.journal.read()
    published = [event for event in events if isinstance(event, RoundPublished)]
    assert [(event.round, len(event.sites)) for event in published] == [(1, 0), (2, 3)]
    assert [event.round for event in events if isinstance(event, SumAbandoned)] == [1]
    assert {event.site for event in events if isinstance(event, SiteFailed)} == {EAST}
    first, second = run.chain()[1:]
    assert np.array_equal(first.parameters_P, FIRST_P)
    assert np.allclose(last.parameters_P, FIRST_P + VALUE, atol=1e-6) and second.digest == last.digest
    # The charge of the abandoned round is in the manifest all the same.
    assert {stated.site for stated in first.manifest.sites} == set(SITES)


def test_sums_that_break_again_and_again_stop_the_run(tmp_path: Path) -> None:
    run, hospitals = masked_run(tmp_path)
    lying_once(hospitals[EAST], 99)
    quick = replace(MASKED, quorum=QuorumTable(sites=2, gather_s=0.0, wait_s=0.05, retries=0))
    with pytest.raises(QuorumError, match="the model of round 0 stands"):
        run.start(settings=quick)


def test_a_masked_sum_of_two_is_refused_where_it_is_asked_for() -> None:
    """Fault 83."""
    two = replace(SETTINGS, cohort=SETTINGS.cohort[:2])
    with pytest.raises(ConfigError, match="needs at least 3 sites"):
        replace(two, aggregation=AggregationTable(masked=True))
    assert not replace(two, aggregation=AggregationTable()).masked


def test_masks_can_not_be_switched_off_within_a_run(tmp_path: Path) -> None:
    run, _ = masked_run(tmp_path)
    with pytest.raises(Crash):
        run.start(settings=MASKED, observer=CrashAt(3))
    with pytest.raises(ConfigError, match="settings changed"):
        run.start(settings=replace(MASKED, aggregation=AggregationTable(masked=False)))


def test_a_steps_answer_holds_no_more_than_the_step_asks_for() -> None:
    assert set(StepAnswer.__dataclass_fields__) == {"site", "plan", "session", "step", "body", "refusal"}


def test_a_revoked_site_is_no_member_and_too_few_make_no_plan(tmp_path: Path) -> None:
    keys = {name: key_of(name).verifying_key for name in names(4)}
    cohort = tuple(SiteTerms(name=name, patients=100) for name in keys)
    settings = replace(MASKED, cohort=cohort)
    run = new_run(tmp_path)
    run.start()
    lineage = Lineage(run.folder.checkpoints, COORDINATOR_SIGNS)
    planner = Planner(run=RunId("run-1"), settings=settings, site_keys=keys, lineage=lineage)
    gone, *left = names(4)
    del keys[gone]
    masking = planner.plan(1, (), settings.train_terms(), parameter_bytes(FIRST_P)).masking
    assert masking is not None and set(masking.keys) == set(left)
    del keys[left[0]]
    with pytest.raises(ConfigError, match="at least 3 sites, got 2"):
        planner.plan(1, (), settings.train_terms(), parameter_bytes(FIRST_P))


@pytest.mark.parametrize("code", ["round-charged-without-answer", "round-asked-differently"])
def test_a_round_whose_update_is_lost_is_skipped(tmp_path: Path, code: RefusalCode) -> None:
    run, hospitals = masked_run(tmp_path)

    def lost(payload: bytes) -> bytes:
        if not is_step(payload):
            plan = unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan
            if plan.round == 1 and plan.masking:
                refusal = Refusal(code=code, detail="")
                return answer_to(plan, np.zeros(0), site=EAST, refusal=refusal)
        return hospitals[EAST](payload)

    run.sites[EAST] = lost
    last = run.start(settings=MASKED)
    (skipped,) = (event for event in run.folder.journal.read() if isinstance(event, SumAbandoned))
    assert (skipped.round, skipped.reason) == (1, "the update of east is lost")
    assert np.allclose(last.parameters_P, FIRST_P + VALUE, atol=1e-6)


def test_a_round_that_was_asked_with_other_members_is_skipped_and_no_fork(tmp_path: Path) -> None:
    """A member was revoked while the coordinator was down."""
    run, _ = masked_run(tmp_path)
    with_another = digest_of(b"the plan with another member")
    first = body_digest(parameter_bytes(FIRST_P))
    asked = PlanAsked(run=run.folder.run, round=1, phase="train", plan=with_another, parameters=first)
    run.log.write("coordinator", asked)
    last = run.start(settings=MASKED)
    (skipped,) = (event for event in run.folder.journal.read() if isinstance(event, SumAbandoned))
    assert (skipped.round, "other" in skipped.reason) == (1, True)
    assert np.allclose(last.parameters_P, FIRST_P + VALUE, atol=1e-6)
    assert not list(contradictions(CheckedLog(owner=COORDINATOR, lines=run.log.read())))
