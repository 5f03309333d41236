"""Each way in which an answer can be wrong leaves out its site and says why."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes import (
    EAST,
    EVALUATE,
    NORTH,
    SITE_KEYS,
    STATISTICS,
    TRAIN,
    answer_to,
    new_key,
    plan_of,
    privacy_of,
)

from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.messages import Refusal, RoundPlan
from fed_server.exchange import Answer, NoAnswer
from fed_server.screening import Contribution, SiteFailure, SiteReply, screen

PLAN = plan_of()
UPDATE_P = np.array([0.25, -0.5, 0.75])


def screened(payload: bytes, *, plan: RoundPlan = PLAN) -> SiteReply:
    key = SITE_KEYS[NORTH].verifying_key
    return screen(Answer(site=NORTH, payload=payload), plan, key, num_parameters=3)


def test_a_good_answer_is_its_values_and_its_privacy() -> None:
    reply = screened(answer_to(PLAN, UPDATE_P))
    assert isinstance(reply, Contribution)
    assert np.array_equal(fixedpoint.from_fixed(reply.values), UPDATE_P)
    assert (reply.site, reply.privacy) == (NORTH, privacy_of())


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (answer_to(PLAN, UPDATE_P, site=EAST, key=SITE_KEYS[NORTH]), "untrusted"),
        (answer_to(PLAN, UPDATE_P, site=EAST), "untrusted"),
        (answer_to(PLAN, UPDATE_P, key=new_key()), "untrusted"),
        (answer_to(plan_of(number=2), UPDATE_P), "wrong-plan"),
        (answer_to(plan_of(EVALUATE), UPDATE_P), "wrong-plan"),
        (answer_to(replace(PLAN, rounds=10), UPDATE_P), "wrong-plan"),
        (answer_to(PLAN, UPDATE_P[:2]), "malformed"),
        (answer_to(PLAN, np.append(UPDATE_P, 0.0)), "malformed"),
        (answer_to(PLAN, UPDATE_P) + b"\x00", "malformed"),
        (answer_to(PLAN, UPDATE_P)[:-1], "malformed"),
        (b"", "malformed"),
        (b"\x80\x04cos\nsystem\n(tR.", "malformed"),
        (answer_to(PLAN, 1.01 * UPDATE_P / np.linalg.norm(UPDATE_P)), "norm-beyond-clip"),
        (answer_to(PLAN, np.full(3, 2.0**29)), "norm-beyond-clip"),
    ],
)
def test_what_is_wrong_with_an_answer_is_named(payload: bytes, code: str) -> None:
    reply = screened(payload)
    assert isinstance(reply, SiteFailure)
    assert (reply.site, reply.code) == (NORTH, code)


def test_an_update_exactly_at_the_clip_passes() -> None:
    assert TRAIN.update_clip == 1.0
    assert isinstance(screened(answer_to(PLAN, np.array([0.6, 0.0, 0.8]))), Contribution)


def test_a_refusal_keeps_its_code_its_detail_and_its_privacy() -> None:
    refusal = Refusal(code="budget-exhausted", detail="epsilon would be 7 of 6")
    privacy = privacy_of(events=9, epsilon=6.0)
    assert screened(answer_to(PLAN, UPDATE_P, refusal=refusal, privacy=privacy)) == SiteFailure(
        site=NORTH,
        code="budget-exhausted",
        detail="epsilon would be 7 of 6",
        privacy=privacy,
        log=EMPTY_LOG,
    )


def test_silence_keeps_its_reason() -> None:
    key = SITE_KEYS[NORTH].verifying_key
    reply = screen(NoAnswer(site=NORTH, reason="late"), PLAN, key, num_parameters=3)
    assert reply == SiteFailure(site=NORTH, code="late")


def test_a_histogram_has_two_counts_per_bin() -> None:
    plan = plan_of(EVALUATE)
    assert isinstance(screened(answer_to(plan, np.full(20, 1e6)), plan=plan), Contribution)
    assert isinstance(screened(answer_to(plan, np.zeros(19)), plan=plan), SiteFailure)


def test_statistics_have_a_count_per_class_and_per_grey() -> None:
    plan = plan_of(STATISTICS, number=0)
    assert isinstance(screened(answer_to(plan, np.full(18, 1e6)), plan=plan), Contribution)
    assert isinstance(screened(answer_to(plan, np.zeros(17)), plan=plan), SiteFailure)
