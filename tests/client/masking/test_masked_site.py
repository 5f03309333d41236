"""A hospital trains for a masked plan as for any other, keeps the update to itself, and masks it once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    COHORT,
    COORDINATOR_KEY,
    EAST,
    EVALUATE,
    FIRST_P,
    NORTH,
    NUM_PARAMETERS,
    POLICY,
    SITE_KEYS,
    SITES,
    SOUTH,
    DirectExchange,
    coordinator_log,
    log_in,
    new_key,
    opened_site,
    plan_of,
    sealed,
)

from fed_client.answers import AnswerStore
from fed_client.policy import SitePolicy
from fed_client.site import Site
from fed_common import fixedpoint
from fed_common.audit_log.facts import PlanRefused
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import ConfigError, TrustError
from fed_common.masking.ring import Ring, smallest_ring
from fed_common.masking.terms import Masking, Member
from fed_common.messages import (
    AnswerStatement,
    RefusalCode,
    RoundPlan,
    Step,
    StepAnswer,
    StepStatement,
    seal,
    unseal,
)
from fed_common.names import SiteName, body_digest
from fed_common.plans import TrainTerms
from fed_server.aggregation import WeightedMean
from fed_server.masking.round import run_masked_round
from fed_server.rounds import Coordinator, run_round

PEERS = tuple(key.verifying_key.spoken for key in SITE_KEYS.values())
NORTH_KEY, EAST_KEY = (SITE_KEYS[name].verifying_key.hex for name in (NORTH, EAST))
KNOWING: SitePolicy = replace(POLICY, peers=PEERS, require_masks=True)


def masked(plan: RoundPlan, *, ring: Ring | None = None, **keys: str) -> RoundPlan:
    assert isinstance(plan.terms, TrainTerms)
    members = tuple(
        Member(site=site.name, identity=keys.get(site.name, SITE_KEYS[site.name].verifying_key.hex))
        for site in plan.cohort
    )
    return replace(
        plan, masking=Masking(members=members, ring=ring or smallest_ring(plan.terms, plan.cohort))
    )


PLAN = masked(plan_of())


def step(
    name: Step, *, session: str = "s", plan: RoundPlan = PLAN, body: bytes = b"", expires: int = 1 << 40
) -> bytes:
    statement = StepStatement(plan=plan, session=session, step=name, expires=expires, body=body_digest(body))
    return seal(statement, body, COORDINATOR_KEY)


def code_of(message: bytes) -> RefusalCode | None:
    statement, _ = unseal(message, StepAnswer, SITE_KEYS[NORTH].verifying_key)
    return statement.refusal.code if statement.refusal else None


@contextmanager
def three_sites(folder: Path, policy: SitePolicy) -> Iterator[Mapping[SiteName, Site]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                opened_site(folder / name, name=name, policy=policy, randomness=FakeRandomness())
            )
            for name in SITES
        }


def coordinator(answerers: Mapping[SiteName, Callable[[bytes], bytes]]) -> Coordinator:
    return Coordinator(
        key=COORDINATOR_KEY,
        site_keys={site: key.verifying_key for site, key in SITE_KEYS.items()},
        officer_keys={},
        log=coordinator_log(),
        exchange=DirectExchange(answerers),
        quorum=3,
        deadline_s=60.0,
    )


def test_three_hospitals_masked_sum_is_the_mean_of_their_plain_updates(tmp_path: Path) -> None:
    wide = masked(plan_of(), ring=Ring(bits=64, fraction_bits=32))
    with three_sites(tmp_path / "masked", KNOWING) as sites:
        outcome = run_masked_round(
            wide,
            parameter_bytes(FIRST_P),
            coordinator=coordinator({name: site.answer for name, site in sites.items()}),
            check=lambda reply: reply,
            on_reply=lambda _: None,
        )
        assert [len(site.ledger.events) for site in sites.values()] == [1, 1, 1]
    with three_sites(tmp_path / "plain", POLICY) as sites:
        plain = run_round(
            plan_of(),
            parameter_bytes(FIRST_P),
            WeightedMean(NUM_PARAMETERS),
            coordinator=coordinator({name: site.answer for name, site in sites.items()}),
            check=lambda reply: reply,
            on_reply=lambda _: None,
        )
    assert outcome.result is not None and plain.result is not None
    assert np.array_equal(outcome.result, plain.result)
    assert np.linalg.norm(outcome.result) > 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened_site(tmp_path, policy=KNOWING) as opened:
        yield opened


def test_the_answer_to_a_masked_plan_holds_no_update(site: Site) -> None:
    statement, body = unseal(site.answer(sealed(PLAN)), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    assert (statement.refusal, body, statement.plan) == (None, b"", PLAN.digest)
    assert [event.spend.steps for event in site.ledger.events] == [2]


REFUSED: list[tuple[RoundPlan, RefusalCode]] = [
    (plan_of(), "unmasked-not-allowed"),
    (masked(plan_of(), east=new_key().verifying_key.hex), "peer-unknown"),
    (masked(plan_of(), east="no key"), "peer-unknown"),
    (masked(plan_of(), ring=Ring(bits=32, fraction_bits=32)), "ring-too-small"),
    (masked(plan_of(), north=EAST_KEY, east=NORTH_KEY), "peer-unknown"),
]


@pytest.mark.parametrize(("plan", "code"), REFUSED)
def test_masks_that_protect_nothing_are_refused_before_any_charge(
    site: Site, plan: RoundPlan, code: RefusalCode
) -> None:
    """T3: a sybil cohort, a key in the middle, no masks at all."""
    statement, _ = unseal(site.answer(sealed(plan)), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    assert statement.refusal is not None and statement.refusal.code == code
    assert site.ledger.events == ()


def test_a_policy_can_ask_for_more_company(tmp_path: Path) -> None:
    with opened_site(tmp_path, policy=replace(KNOWING, min_cohort=4)) as demanding:
        answer = unseal(demanding.answer(sealed(PLAN)), AnswerStatement, SITE_KEYS[NORTH].verifying_key)[0]
    assert answer.refusal is not None and answer.refusal.code == "cohort-too-small"


def test_without_require_masks_counts_and_plain_updates_are_answered(tmp_path: Path) -> None:
    """What `require_masks` prevents: a coordinator that just asks for the plain update gets it."""
    with opened_site(tmp_path, policy=replace(KNOWING, require_masks=False)) as trusting:
        _, body = unseal(trusting.answer(sealed(plan_of())), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
        assert len(body) == 8 * NUM_PARAMETERS
    with opened_site(tmp_path / "strict", policy=KNOWING) as strict:
        _, body = unseal(
            strict.answer(sealed(plan_of(EVALUATE))), AnswerStatement, SITE_KEYS[NORTH].verifying_key
        )
        assert body


def test_counts_can_not_be_masked() -> None:
    with pytest.raises(ConfigError, match="only updates"):
        replace(plan_of(EVALUATE), masking=PLAN.masking)
    with pytest.raises(ConfigError, match="sites of the cohort"):
        replace(PLAN, cohort=COHORT[:2])


def test_a_broken_masked_round_is_not_asked_for_in_plain(tmp_path: Path) -> None:
    """No fall-back: the same round without masks gets nothing, whatever the policy."""
    with opened_site(tmp_path, policy=replace(KNOWING, require_masks=False)) as trusting:
        trusting.answer(sealed(PLAN))
        again = unseal(trusting.answer(sealed(plan_of())), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    assert again[0].refusal is not None and again[0].refusal.code == "round-asked-differently"
    assert again[1] == b""


def test_a_step_of_a_round_that_is_over_is_refused_and_leaves_a_trace(tmp_path: Path) -> None:
    later = masked(plan_of(number=2))
    with opened_site(tmp_path, policy=KNOWING) as site:
        for plan in (PLAN, later):
            site.answer(sealed(plan))
        # The update of round 1 is still here, and was never masked.
        assert code_of(site.answer(step("advertise"))) == "stale-round"
        assert code_of(site.answer(step("advertise", plan=later))) is None
    refused = [line.fact for line in log_in(tmp_path).read() if isinstance(line.fact, PlanRefused)]
    assert [(fact.plan, fact.code) for fact in refused] == [(PLAN.digest, "stale-round")]


def test_steps_come_in_order_once_and_only_after_training(site: Site) -> None:
    assert code_of(site.answer(step("advertise"))) == "masking-refused"  # nothing trained yet
    site.answer(sealed(PLAN))
    assert code_of(site.answer(step("share"))) == "masking-refused"  # no session yet
    first = site.answer(step("advertise"))
    assert code_of(first) is None
    assert site.answer(step("advertise")) == first  # the line broke: the same bytes
    for skipped in ("mask", "confirm", "unmask", "advertise"):
        assert code_of(site.answer(step(skipped, body=b"other"))) == "masking-refused"
    other = site.answer(step("advertise", session="t"))
    assert code_of(other) is None and other != first
    assert code_of(site.answer(step("share"))) == "masking-refused"  # the session before is dead


def test_nothing_is_resumed_after_a_crash(tmp_path: Path) -> None:
    with opened_site(tmp_path, policy=KNOWING) as before:
        before.answer(sealed(PLAN))
        before.answer(step("advertise"))
    with opened_site(tmp_path, policy=KNOWING) as restarted:
        assert code_of(restarted.answer(step("share"))) == "masking-refused"
        assert code_of(restarted.answer(step("advertise", session="t"))) is None
        assert len(restarted.ledger.events) == 1


def test_a_step_that_is_expired_or_not_the_coordinators_is_none(site: Site) -> None:
    site.answer(sealed(PLAN))
    with pytest.raises(TrustError, match="expired"):
        site.answer(step("advertise", expires=1))
    with pytest.raises(TrustError):
        site.answer(step("advertise").replace(b'"session":"s"', b'"session":"z"'))


def test_an_update_is_masked_once_whatever_becomes_of_the_round(tmp_path: Path) -> None:
    """T3, the same round again with n-1 sites: EAST is lost, and the others are asked to mask anew."""
    with three_sites(tmp_path, KNOWING) as sites:
        lost = {EAST: False}

        def east(message: bytes) -> bytes:
            if b'"step":"confirm"' in message:
                lost[EAST] = True
            if lost[EAST]:
                return b"garbage"
            return sites[EAST].answer(message)

        asked = coordinator({NORTH: sites[NORTH].answer, EAST: east, SOUTH: sites[SOUTH].answer})
        arguments = {"check": lambda reply: reply, "on_reply": lambda _: None}
        broken = run_masked_round(PLAN, parameter_bytes(FIRST_P), coordinator=asked, **arguments)
        lost[EAST] = False
        again = run_masked_round(PLAN, parameter_bytes(FIRST_P), coordinator=asked, **arguments)
        assert broken.result is None and "confirmed the survivors" in broken.abandoned
        assert again.result is None and "masked the update of this round before" in again.abandoned
        assert {failure.code for failure in again.failures} == {"round-masked-already"}
        assert [len(site.ledger.events) for site in sites.values()] == [1, 1, 1]


def test_a_second_unmask_is_refused_for_whatever_list(tmp_path: Path) -> None:
    """Fault 80; with the same question again, as after a broken line, come the same bytes."""
    with three_sites(tmp_path, KNOWING) as sites:
        asked: list[bytes] = []

        def north(message: bytes) -> bytes:
            asked.append(message)
            return sites[NORTH].answer(message)

        exchange = {NORTH: north, EAST: sites[EAST].answer, SOUTH: sites[SOUTH].answer}
        outcome = run_masked_round(
            PLAN,
            parameter_bytes(FIRST_P),
            coordinator=coordinator(exchange),
            check=lambda reply: reply,
            on_reply=lambda _: None,
        )
        assert outcome.result is not None
        statement, body = unseal(asked[-1], StepStatement, COORDINATOR_KEY.verifying_key)
        assert statement.step == "unmask" and code_of(sites[NORTH].answer(asked[-1])) is None
        for again in ("confirm", "unmask"):
            repeated = step(again, session=statement.session, body=bytes(body))
            assert code_of(sites[NORTH].answer(repeated)) == "masking-refused"


def test_of_a_masked_update_nothing_is_left_on_disk(tmp_path: Path) -> None:
    with three_sites(tmp_path, KNOWING) as sites:
        kept = AnswerStore(tmp_path / NORTH / "answers" / "unmasked")
        sites[NORTH].answer(sealed(PLAN))
        before = kept.find(PLAN.run, 1, "train")
        assert before is not None and np.any(fixedpoint.from_bytes(before, size=NUM_PARAMETERS))
        run_masked_round(
            PLAN,
            parameter_bytes(FIRST_P),
            coordinator=coordinator({name: opened.answer for name, opened in sites.items()}),
            check=lambda reply: reply,
            on_reply=lambda _: None,
        )
        assert kept.find(PLAN.run, 1, "train") == b""
