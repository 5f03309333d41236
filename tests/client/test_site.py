"""The hospital's side of a round: what is refused costs nothing, and what was charged is released once."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    COHORT,
    COORDINATOR_KEY,
    DP,
    EAST,
    EVALUATE,
    FIRST_P,
    NORTH,
    NUM_PARAMETERS,
    POLICY,
    SITE_KEYS,
    STATISTICS,
    TRAIN,
    log_in,
    opened_site,
    plan_of,
    sealed,
)
from tests.full_disk import disk_full_after

from fed_client.site import Site
from fed_client.site_log import SiteLog
from fed_client.training import TrainingStoppedError
from fed_common import canonical, eight_bits, fixedpoint
from fed_common.accounting import Spend
from fed_common.audit_log.facts import PlanAnswered
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import MachineError, MalformedMessageError, TrustError
from fed_common.ledger_record import LedgerHead
from fed_common.messages import (
    MAGIC,
    AnswerStatement,
    PlanStatement,
    PrivacyStatement,
    RefusalCode,
    RoundPlan,
    WitnessedHead,
    unseal,
)
from fed_common.names import Bytes, Digest, body_digest
from fed_common.randomness import SystemRandomness
from fed_common.statistics import PatientCounts


@dataclass
class CountingRandomness(SystemRandomness):
    """Counts the draws: a site that drew nothing has not touched its patients."""

    draws: int = 0

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        self.draws += 1
        super().add_noise(exact_N, std=std)

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        self.draws += 1
        return super().poisson_mask(count, rate=rate)


@pytest.fixture
def randomness() -> CountingRandomness:
    return CountingRandomness()


@pytest.fixture
def site(tmp_path: Path, randomness: CountingRandomness) -> Iterator[Site]:
    with opened_site(tmp_path, randomness=randomness) as opened:
        yield opened


def opened_answer(message: bytes) -> tuple[AnswerStatement, Bytes]:
    return unseal(message, AnswerStatement, SITE_KEYS[NORTH].verifying_key)


def code_of(message: bytes) -> RefusalCode | None:
    statement, body = opened_answer(message)
    assert (statement.refusal is None) == bool(body)
    return statement.refusal.code if statement.refusal else None


def test_a_train_plan_gets_a_clipped_update_and_is_charged(site: Site) -> None:
    statement, body = opened_answer(site.answer(sealed(plan_of())))
    update_P = fixedpoint.from_fixed(fixedpoint.from_bytes(body, size=NUM_PARAMETERS))
    assert 0 < np.linalg.norm(update_P) <= TRAIN.update_clip * 1.001
    assert [event.spend.steps for event in site.ledger.events] == [2]
    assert statement.privacy.ledger == site.ledger.head
    assert (statement.privacy.epsilon, statement.privacy.releases) == (2.0, 1)


def test_an_update_in_8_bits_is_the_clipped_one_and_asked_again_the_same(tmp_path: Path) -> None:
    asked = sealed(plan_of(replace(TRAIN, encoding="8-bit", update_clip=1e-3)))
    with opened_site(tmp_path) as site:
        first = site.answer(asked)
        assert site.answer(asked) == first
    _, body = opened_answer(first)
    assert len(body) == eight_bits.num_bytes(NUM_PARAMETERS) < NUM_PARAMETERS * 1.01
    update_P = fixedpoint.from_fixed(eight_bits.decode(body, size=NUM_PARAMETERS))
    assert np.linalg.norm(update_P) == pytest.approx(1e-3, rel=1e-3)


def test_an_evaluation_gets_a_histogram_and_is_charged(site: Site) -> None:
    _, body = opened_answer(site.answer(sealed(plan_of(EVALUATE))))
    assert len(body) == 8 * 2 * EVALUATE.bins
    assert site.ledger.charged(plan_of().run, 1, "evaluate")


def test_statistics_are_noised_counts_and_one_ledger_line(tmp_path: Path) -> None:
    plan = plan_of(STATISTICS, number=0)
    with opened_site(tmp_path, randomness=FakeRandomness(noise_in_std=1.0)) as site:
        _, body = opened_answer(site.answer(sealed(plan)))
        (event,) = site.ledger.events
    values = fixedpoint.from_fixed(fixedpoint.from_bytes(body, size=STATISTICS.classes + STATISTICS.bins))
    counts = PatientCounts.from_vector(values - STATISTICS.noise_multiplier, STATISTICS)
    assert counts.classes_K == pytest.approx([4, 4], abs=1e-4)  # of the 8 patients on the training side
    assert counts.greys_B.sum() == pytest.approx(8, abs=1e-3)
    assert (event.round, event.phase) == (0, "statistics")
    assert event.spend == Spend(noise_multiplier=4.0, sampling_rate=1.0, steps=1)


def test_statistics_asked_twice_are_the_same_bytes_and_training_goes_on(tmp_path: Path) -> None:
    asked = sealed(plan_of(STATISTICS, number=0))
    with opened_site(tmp_path) as site:
        first = site.answer(asked)
    with opened_site(tmp_path) as restarted:
        assert restarted.answer(asked) == first
        assert code_of(restarted.answer(sealed(plan_of(number=1)))) is None
        assert code_of(restarted.answer(asked)) == "stale-round"
        assert [event.phase for event in restarted.ledger.events] == ["statistics", "train"]


def test_other_statistics_than_the_first_are_refused(site: Site, randomness: CountingRandomness) -> None:
    site.answer(sealed(plan_of(STATISTICS, number=0)))
    draws = randomness.draws
    finer = sealed(plan_of(replace(STATISTICS, bins=32), number=0))
    assert code_of(site.answer(finer)) == "round-asked-differently"
    assert (randomness.draws, len(site.ledger.events)) == (draws, 1)


def test_a_plan_asked_twice_gets_the_same_bytes_for_one_charge(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        first = site.answer(sealed(plan_of()))
        assert site.answer(sealed(plan_of(), expires=1 << 41)) == first
    with opened_site(tmp_path) as restarted:
        assert restarted.answer(sealed(plan_of())) == first
        assert len(restarted.ledger.events) == 1


class Killed(BaseException):
    """The process is gone."""


class DyingLog(SiteLog):
    """Ends the process when the first answer is on disk, and not in the log."""

    def answered(self, plan: RoundPlan, *, body: Digest, ledger: Digest, again: bool = False) -> None:
        raise Killed


def test_an_answer_that_a_crash_kept_out_of_the_log_is_written_down_when_it_is_sent_again(
    tmp_path: Path,
) -> None:
    with opened_site(tmp_path) as site:
        site.log = DyingLog(site=site.log.site, log=site.log.log)
        with pytest.raises(Killed):
            site.answer(sealed(plan_of()))
        charged = site.ledger.head.digest
    with opened_site(tmp_path) as restarted:
        restarted.answer(sealed(plan_of(EVALUATE)))  # the ledger goes on
        for _ in range(3):
            statement, _ = unseal(
                restarted.answer(sealed(plan_of())), AnswerStatement, SITE_KEYS[NORTH].verifying_key
            )
    facts = [line.fact for line in log_in(tmp_path).read()]
    answered = [fact for fact in facts if isinstance(fact, PlanAnswered) and fact.phase == "train"]
    assert [(fact.plan, fact.body, fact.ledger) for fact in answered] == [
        (plan_of().digest, statement.body, charged)
    ]


def test_a_round_answered_is_not_answered_to_another_plan(site: Site, randomness: CountingRandomness) -> None:
    site.answer(sealed(plan_of()))
    draws = randomness.draws
    other = sealed(plan_of(replace(TRAIN, learning_rate=0.2)))
    assert code_of(site.answer(other)) == "round-asked-differently"
    assert (randomness.draws, len(site.ledger.events)) == (draws, 1)


def test_a_charge_whose_answer_was_lost_is_never_trained_again(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        site.stop()
        with pytest.raises(TrainingStoppedError):
            site.answer(sealed(plan_of()))
    randomness = CountingRandomness()
    with opened_site(tmp_path, randomness=randomness) as site:
        assert code_of(site.answer(sealed(plan_of()))) == "round-charged-without-answer"
        assert (randomness.draws, len(site.ledger.events)) == (0, 1)


def test_the_budget_is_used_to_its_exact_end_and_then_nothing_is_touched(
    site: Site, randomness: CountingRandomness
) -> None:
    codes = [code_of(site.answer(sealed(plan_of(number=number)))) for number in (1, 2, 3)]
    draws = randomness.draws
    assert codes == [None, None, None]  # 3 rounds of 2 steps, of 6
    assert code_of(site.answer(sealed(plan_of(EVALUATE, number=3)))) == "budget-exhausted"
    assert (randomness.draws, len(site.ledger.events)) == (draws, 3)


def test_where_a_file_stands_for_a_patient_answers_and_refusals_say_so(tmp_path: Path) -> None:
    with opened_site(tmp_path, unit="image file", policy=replace(POLICY, epsilon=2.0)) as site:
        statement, _ = opened_answer(site.answer(sealed(plan_of())))
        refused, _ = opened_answer(site.answer(sealed(plan_of(number=2))))
    assert statement.privacy.unit == "image file"
    assert refused.refusal is not None
    assert refused.refusal.detail.endswith("per image file")


def witnessing(events: int, digest: str) -> RoundPlan:
    head = LedgerHead(events=events, digest=Digest(digest))
    return replace(plan_of(), witnessed=(WitnessedHead(site=NORTH, head=head),))


LOUD = replace(TRAIN, dp=replace(DP, noise_multiplier=0.5))
REFUSED: list[tuple[RoundPlan, RefusalCode]] = [
    (replace(plan_of(), cohort=COHORT[1:]), "not-in-cohort"),
    (replace(plan_of(), cohort=COHORT[:1]), "cohort-too-small"),
    (replace(plan_of(), task=Digest("another")), "task-differs"),
    (replace(plan_of(), model="another"), "model-not-allowed"),
    (plan_of(LOUD), "noise-below-floor"),
    (plan_of(replace(TRAIN, dp=replace(DP, clip_norm=2.0))), "clip-above-ceiling"),
    (plan_of(replace(TRAIN, dp=replace(DP, sampling_rate=0.6))), "sampling-above-ceiling"),
    (plan_of(replace(TRAIN, dp=replace(DP, steps=3))), "steps-above-ceiling"),
    (plan_of(replace(TRAIN, dp=replace(DP, max_images_per_patient=3))), "images-above-ceiling"),
    (plan_of(replace(EVALUATE, noise_multiplier=1.0)), "noise-below-floor"),
    (plan_of(replace(STATISTICS, noise_multiplier=1.0)), "noise-below-floor"),
    (plan_of(replace(STATISTICS, classes=3)), "task-differs"),
    (plan_of(replace(STATISTICS, several_labels=True)), "task-differs"),
    (plan_of(replace(TRAIN, class_weights=(1.0, 1.0, 1.0))), "task-differs"),
    (witnessing(1, "0" * 64), "ledger-behind-coordinator"),
    (witnessing(0, "1" * 64), "ledger-behind-coordinator"),
]


@pytest.mark.parametrize(("plan", "code"), REFUSED)
def test_what_is_not_allowed_is_refused_before_any_charge(
    site: Site, randomness: CountingRandomness, plan: RoundPlan, code: RefusalCode
) -> None:
    assert code_of(site.answer(sealed(plan))) == code
    assert (randomness.draws, site.ledger.events) == (0, ())


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf, 10_001.0, -10_001.0])
def test_a_model_that_could_break_the_arithmetic_is_refused(
    site: Site, randomness: CountingRandomness, weight: float
) -> None:
    parameters_P = FIRST_P.copy()
    parameters_P[7] = weight
    assert code_of(site.answer(sealed(plan_of(), parameters_P))) == "model-not-finite"
    assert (randomness.draws, site.ledger.events) == (0, ())


def test_a_round_that_is_over_is_refused(site: Site) -> None:
    site.answer(sealed(plan_of(number=5)))
    assert code_of(site.answer(sealed(plan_of(number=4)))) == "stale-round"
    assert len(site.ledger.events) == 1


def test_the_head_that_the_coordinator_saw_is_found_in_a_longer_ledger(site: Site) -> None:
    site.answer(sealed(plan_of(number=1)))
    head = WitnessedHead(site=NORTH, head=site.ledger.head)
    site.answer(sealed(plan_of(number=2)))
    other = WitnessedHead(site=EAST, head=LedgerHead(events=99, digest=Digest("e")))
    plan = replace(plan_of(number=3), witnessed=(head, other))
    assert code_of(site.answer(sealed(plan))) is None


@pytest.mark.parametrize("wrong_P", [FIRST_P[:-1], np.append(FIRST_P, FIRST_P[:1])])
def test_a_model_of_another_length_is_malformed(site: Site, wrong_P: NDArray[np.float32]) -> None:
    with pytest.raises(MalformedMessageError):
        site.answer(sealed(plan_of(), wrong_P))
    assert site.ledger.events == ()


def test_a_model_other_than_the_plans_is_malformed(site: Site) -> None:
    with pytest.raises(MalformedMessageError, match="not the one"):
        site.answer(sealed(plan_of(), FIRST_P + 1, names_it=False))
    assert site.ledger.events == ()


def test_an_expired_or_altered_plan_is_no_plan(site: Site) -> None:
    with pytest.raises(TrustError, match="expired"):
        site.answer(sealed(plan_of(), expires=1))
    with pytest.raises(TrustError):
        site.answer(sealed(plan_of()).replace(b'"round":1', b'"round":2'))
    assert site.ledger.events == ()


def test_a_plan_that_brings_a_seed_is_no_plan(site: Site, randomness: CountingRandomness) -> None:
    body = parameter_bytes(FIRST_P)
    statement = PlanStatement(plan=plan_of(), expires=1 << 40, body=body_digest(body), log=EMPTY_LOG)
    fact = canonical.encode(statement)
    seeded = fact.replace(b'"steps":', b'"seed":42,"steps":')
    assert seeded != fact
    kind = "application/vnd.fed.PlanStatement.v1+json"
    signature = COORDINATOR_KEY.sign(payload_type=kind, payload=seeded).hex().encode()
    header = b'{"fact":%s,"signature":"%s"}' % (seeded, signature)
    with pytest.raises(MalformedMessageError, match="not the canonical encoding"):
        site.answer(struct.pack("<4sI", MAGIC, len(header)) + header + body)
    assert (randomness.draws, site.ledger.events) == (0, ())


def test_on_a_full_disk_nothing_is_trained(site: Site, randomness: CountingRandomness) -> None:
    with disk_full_after(100), pytest.raises(MachineError):
        site.answer(sealed(plan_of()))
    assert (randomness.draws, site.ledger.events) == (0, ())


def test_an_answer_that_cannot_be_kept_is_not_sent_and_stays_charged(site: Site) -> None:
    with disk_full_after(50_000), pytest.raises(MachineError):  # enough for the ledger, not for the answer
        site.answer(sealed(plan_of()))
    assert code_of(site.answer(sealed(plan_of()))) == "round-charged-without-answer"


def test_nothing_that_travels_beside_the_update_is_measured_on_patients() -> None:
    stated = {field.name for kind in (AnswerStatement, PrivacyStatement) for field in fields(kind)}
    of_the_log = {"log"}
    of_the_plan = {"site", "run", "round", "phase", "plan", "body", "refusal", "tightened", "privacy"}
    of_the_ledger = {
        "unit",
        "epsilon",
        "delta",
        "adversary",
        "sampling",
        "releases",
        "accountant",
        "ledger",
        "reset",
    }
    assert stated == of_the_plan | of_the_ledger | of_the_log | {"code"}


def test_an_update_longer_than_the_clip_is_shortened_not_refused(tmp_path: Path) -> None:
    terms = replace(TRAIN, update_clip=1e-3)
    with opened_site(tmp_path, policy=POLICY, randomness=FakeRandomness()) as site:
        _, body = opened_answer(site.answer(sealed(plan_of(terms))))
    update_P = fixedpoint.from_fixed(fixedpoint.from_bytes(body, size=NUM_PARAMETERS))
    assert np.linalg.norm(update_P) == pytest.approx(1e-3, rel=1e-4)
