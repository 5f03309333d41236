"""A coordinator, or who has stolen its key, that goes back, goes aside, or tells each site something else.

Each attack is made with rightly signed messages. Off, which is a site that forgets what it has accepted and
lets its ledger alone refuse, the attack succeeds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    DP,
    EAST,
    EVALUATE,
    FIRST_P,
    NORTH,
    NUM_PARAMETERS,
    POLICY,
    SITE_KEYS,
    TRAIN,
    ObedientSite,
    lineage_of,
    log_in,
    new_key,
    opened_site,
    plan_of,
    sealed,
)
from tests.server.runs import new_run

from fed_client.plan_memory import PlanMemory
from fed_client.site import Site
from fed_client.site_log import SiteLog
from fed_common.audit_log.comparison import contradictions
from fed_common.audit_log.facts import Fact, JournalWritten, LogForked, MessageRefused, PlanRefused
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.audit_log.head import EMPTY_LOG, LogHead
from fed_common.audit_log.log import AuditLog
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import AnswerStatement, PlanStatement, RefusalCode, RoundPlan, seal, unseal
from fed_common.names import Digest, RunId, SiteName, body_digest
from fed_server.aggregation import WeightedMean
from fed_server.coordinator_log import CoordinatorLog
from fed_server.exchange import Answer
from fed_server.journal import SiteFailed
from fed_server.screening import Contribution, screen

GENEROUS = replace(POLICY, epsilon=100.0)
ELSEWHERE = Digest("e" * 64)


class Forgetful(PlanMemory):
    """The defence switched off: every plan is the first one."""

    def accept(self, plan: RoundPlan) -> None:
        pass


@contextmanager
def site_in(folder: Path, *, name: SiteName = NORTH, forgetful: bool = False) -> Iterator[Site]:
    with opened_site(folder, name=name, policy=GENEROUS, randomness=FakeRandomness()) as site:
        if forgetful:
            memory = site.plans
            site.plans = Forgetful(
                folder=memory.folder, key=memory.key, coordinator=memory.coordinator, task=memory.task
            )
        yield site


def code_of(message: bytes, *, name: SiteName = NORTH) -> RefusalCode | None:
    statement, _ = unseal(message, AnswerStatement, SITE_KEYS[name].verifying_key)
    return statement.refusal.code if statement.refusal else None


def facts_of(folder: Path) -> list[Fact | None]:
    return [line.fact for line in log_in(folder).read()]


LOUD = replace(TRAIN, dp=replace(DP, noise_multiplier=0.5))
OTHER_RUN = RunId("run-2")


def asked(*plans: RoundPlan) -> Callable[[Site], None]:
    def ask(site: Site) -> None:
        for plan in plans:
            site.answer(sealed(plan))

    return ask


# What the site was asked before, the attack, and what it gets. Where nothing was charged for a round, the
# ledger knows nothing of it: the site refused its noise.
ATTACKS: dict[str, tuple[Callable[[Site], None], RoundPlan, RefusalCode]] = {
    "an older round": (asked(plan_of(LOUD, number=3)), plan_of(number=2), "stale-round"),
    "an older run": (
        asked(plan_of(number=1), replace(plan_of(number=1), run=OTHER_RUN)),
        plan_of(number=2),
        "stale-run",
    ),
    "another model in the same round": (
        asked(plan_of(LOUD, number=3)),
        plan_of(number=3),
        "round-asked-differently",
    ),
    "a model from elsewhere in the next round": (
        asked(plan_of(number=3)),
        replace(plan_of(number=4), lineage=(*lineage_of(2), ELSEWHERE, ELSEWHERE)),
        "model-forked",
    ),
    "a model from elsewhere in the same round": (
        asked(plan_of(number=3)),
        replace(plan_of(EVALUATE, number=3), lineage=(*lineage_of(2), ELSEWHERE)),
        "model-forked",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_site_goes_forwards_only(tmp_path: Path, name: str) -> None:
    prepare, attack, code = ATTACKS[name]
    with site_in(tmp_path / "on") as site:
        prepare(site)
        charged = len(site.ledger.events)
    with site_in(tmp_path / "on") as restarted:
        assert code_of(restarted.answer(sealed(attack))) == code
        assert len(restarted.ledger.events) == charged
    assert facts_of(tmp_path / "on")[-1] == PlanRefused(
        run=attack.run, round=attack.round, phase=attack.phase, plan=attack.digest, code=code
    )
    with site_in(tmp_path / "off", forgetful=True) as site:
        prepare(site)
        assert code_of(site.answer(sealed(attack))) is None
        assert len(site.ledger.events) == charged + 1


def test_a_plan_that_was_overheard_is_worth_nothing_later_and_no_second_charge_sooner(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        first = site.answer(sealed(plan_of()))
        with pytest.raises(TrustError, match="expired"):
            site.answer(sealed(plan_of(), expires=1))
        # Off, before it expires: the bytes that the coordinator has had, and no charge.
        assert site.answer(sealed(plan_of())) == first
        assert len(site.ledger.events) == 1
    assert MessageRefused(code="expired") in facts_of(tmp_path)


def test_a_message_with_one_byte_tampered_anywhere_is_refused_and_leaves_a_trace(tmp_path: Path) -> None:
    message = sealed(plan_of())
    with site_in(tmp_path / "on") as site:
        places = range(0, len(message), len(message) // 60)
        for place in places:
            tampered = message[:place] + bytes([message[place] ^ 0x40]) + message[place + 1 :]
            with pytest.raises((TrustError, MalformedMessageError)):
                site.answer(tampered)
        assert site.ledger.events == ()
    traces = [fact for fact in facts_of(tmp_path / "on") if isinstance(fact, MessageRefused)]
    assert len(traces) == len(places)
    # Off: a site that believes whoever signs trains on the tampered model.
    attacker = new_key()
    body = parameter_bytes(FIRST_P + np.float32(1.0))
    statement = PlanStatement(
        plan=replace(plan_of(), parameters=body_digest(body)),
        expires=1 << 40,
        body=body_digest(body),
        log=EMPTY_LOG,
    )
    with site_in(tmp_path / "off") as site:
        with pytest.raises(TrustError):
            site.answer(seal(statement, body, attacker))
        site.identity = replace(site.identity, coordinator=attacker.verifying_key)
        assert code_of(site.answer(seal(statement, body, attacker))) is None


def checked(folder: Path, name: str) -> CheckedLog:
    return CheckedLog(owner=name, lines=log_in(folder).read())


def test_a_coordinator_that_gives_each_site_a_model_of_its_own_is_found_out(tmp_path: Path) -> None:
    fishing = FIRST_P + np.float32(0.5)
    with site_in(tmp_path / "north") as north, site_in(tmp_path / "east", name=EAST) as east:
        # Neither site can see it, and both answer: the attack succeeds where nobody compares logs.
        assert code_of(north.answer(sealed(plan_of()))) is None
        assert code_of(east.answer(sealed(plan_of(), fishing)), name=EAST) is None
    (found,) = contradictions(checked(tmp_path / "north", NORTH), checked(tmp_path / "east", EAST))
    assert found.startswith("run run-1, round 1 train: north has plan ") and "asked different things" in found


def test_sites_that_were_asked_the_same_agree(tmp_path: Path) -> None:
    with site_in(tmp_path / "north") as north, site_in(tmp_path / "east", name=EAST) as east:
        for number in (1, 2):
            north.answer(sealed(plan_of(number=number)))
            east.answer(sealed(plan_of(number=number)))
    assert not list(contradictions(checked(tmp_path / "north", NORTH), checked(tmp_path / "east", EAST)))


def coordinators_log(folder: Path, *plans: RoundPlan) -> tuple[AuditLog, LogHead]:
    log = AuditLog(folder / "log.jsonl")
    head = EMPTY_LOG
    for plan in plans:
        head = CoordinatorLog(log).asked(plan)
    return log, head


def test_a_plan_that_the_coordinator_kept_to_itself_is_found_out(tmp_path: Path) -> None:
    log, head = coordinators_log(tmp_path, plan_of(), plan_of())  # asked again, with the same words
    secret = replace(plan_of(), run=OTHER_RUN)
    with site_in(tmp_path / "north") as north, site_in(tmp_path / "east", name=EAST) as east:
        north.answer(sealed(plan_of(), log=head))
        # East is asked with an honest head, and answers: its log alone shows nothing.
        assert code_of(east.answer(sealed(secret, log=head)), name=EAST) is None
    told = CheckedLog(owner="coordinator", lines=log.read())
    norths, easts = checked(tmp_path / "north", NORTH), checked(tmp_path / "east", EAST)
    assert not list(contradictions(told, norths)) and not list(contradictions(norths, easts))
    (found,) = contradictions(told, norths, easts)
    assert found.startswith("run run-2, round 1 train: east accepted plan ")
    assert "wasn't in the coordinator's log" in found
    # Written down afterwards, it is found out, too; what was only let go isn't missed.
    CoordinatorLog(log).asked(secret)
    log.forget(before=1 << 40)
    told = CheckedLog(owner="coordinator", lines=log.read())
    assert not list(contradictions(told, norths))
    (found,) = contradictions(told, easts)
    assert "wasn't in the coordinator's log" in found


def test_a_coordinator_that_shows_each_site_a_log_of_its_own_is_found_out(tmp_path: Path) -> None:
    elsewhere = replace(plan_of(), run=OTHER_RUN)
    _, one = coordinators_log(tmp_path / "one", plan_of())
    _, other = coordinators_log(tmp_path / "other", elsewhere)
    with site_in(tmp_path / "north") as north, site_in(tmp_path / "east", name=EAST) as east:
        assert code_of(north.answer(sealed(plan_of(), log=one))) is None
        assert code_of(east.answer(sealed(elsewhere, log=other)), name=EAST) is None
    (found,) = contradictions(checked(tmp_path / "north", NORTH), checked(tmp_path / "east", EAST))
    assert found.startswith("the coordinator's log with 1 entries: north has seen the root ")
    assert "it shows different logs" in found


@pytest.mark.parametrize("plan", [plan_of(), plan_of(EVALUATE)], ids=["train", "evaluate"])
def test_a_coordinator_that_asked_one_thing_in_two_ways_is_found_out_by_its_own_log(
    tmp_path: Path, plan: RoundPlan
) -> None:
    log, _ = coordinators_log(tmp_path, plan, plan)
    assert not list(contradictions(CheckedLog(owner="coordinator", lines=log.read()))), "as after a crash"
    CoordinatorLog(log).asked(replace(plan, rounds=2))
    (found,) = contradictions(CheckedLog(owner="coordinator", lines=log.read()))
    assert "the coordinator asked different things" in found


def test_a_coordinator_that_writes_its_log_anew_contradicts_what_the_sites_have_seen(tmp_path: Path) -> None:
    log, head = coordinators_log(tmp_path / "first", plan_of(number=1), plan_of(number=2))
    with site_in(tmp_path / "north") as site:
        site.answer(sealed(plan_of(number=2), log=head))
    north = checked(tmp_path / "north", NORTH)
    assert not list(contradictions(CheckedLog(owner="coordinator", lines=log.read()), north))
    # The first entry never happened; the new log is whole, and passes on its own.
    anew, _ = coordinators_log(tmp_path / "anew", plan_of(number=2), plan_of(number=3))
    (found,) = contradictions(CheckedLog(owner="coordinator", lines=anew.read()), north)
    assert "north has seen coordinator's log with 2 entries" in found
    assert "rewritten, or cut" in found


def test_a_site_that_writes_its_log_anew_is_found_out_by_the_coordinator(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log.jsonl")
    coordinator = CoordinatorLog(log)
    with site_in(tmp_path / "north") as site:
        site.answer(sealed(plan_of(LOUD), log=coordinator.asked(plan_of(LOUD))))
        coordinator.seen(NORTH, site.log.head)
        site.log.log.path.unlink()
        site.log = SiteLog(site=NORTH, log=AuditLog(site.log.log.path))
        again = plan_of(LOUD, number=2)
        site.answer(sealed(again, log=coordinator.asked(again)))
        coordinator.seen(NORTH, site.log.head)
    forked = log.read()[-1].fact
    assert isinstance(forked, LogForked) and forked.site == NORTH
    told = CheckedLog(owner="coordinator", lines=log.read())
    (found,) = contradictions(told, checked(tmp_path / "north", NORTH))
    assert "coordinator has seen north's log" in found


@dataclass
class Replaying:
    """A site, or somebody with its certificate, that sends again what it sent in an earlier round."""

    site: ObedientSite
    sent: list[bytes] = field(default_factory=list)

    def __call__(self, payload: bytes) -> bytes:
        self.sent.append(self.site(payload))
        return self.sent[0]


def test_an_answer_of_an_earlier_round_counts_once_and_its_site_is_named(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    replaying = Replaying(ObedientSite(NORTH, value=0.001))
    run.sites[NORTH] = replaying
    run.start()
    events = run.folder.journal.read()
    failed = [event for event in events if isinstance(event, SiteFailed)]
    assert {(event.site, event.code) for event in failed} == {(NORTH, "wrong-plan")}
    assert [event.round for event in failed if event.phase == "train"] == [2]
    logged = {
        fact.line for fact in (line.fact for line in run.log.read()) if isinstance(fact, JournalWritten)
    }
    assert logged == set(run.folder.journal.digests())
    # Off: if nobody asks which plan it answers, round 2 is made of the update of round 1.
    first, second = (plan for plan in replaying.site.plans if plan.phase == "train")
    again = Answer(site=NORTH, payload=replaying.sent[0])
    believed = screen(again, first, SITE_KEYS[NORTH].verifying_key, num_parameters=NUM_PARAMETERS)
    assert isinstance(believed, Contribution)
    open_round = WeightedMean(NUM_PARAMETERS).open(second)
    open_round.fold(believed)
    assert np.allclose(open_round.close(), 0.001, atol=1e-6)
