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
from fed_common.messages import AnswerStatement, Refusal, RoundPlan, seal, unseal
from fed_common.names import body_digest
from fed_common.tightening import Tightened
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


SHORT = plan_of(replace(TRAIN, encoding="8-bit"))


def short(scale: float, codes: list[int]) -> bytes:
    """Return a well-signed answer with these bytes in the place of an update in 8 bits."""
    body = np.array([scale], dtype="<f4").tobytes() + np.array(codes, dtype=np.int8).tobytes()
    statement, _ = unseal(answer_to(SHORT, UPDATE_P), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    return seal(replace(statement, body=body_digest(body)), body, SITE_KEYS[NORTH])


def test_an_update_in_8_bits_is_read_into_the_same_fixed_point() -> None:
    reply = screened(short(2.0**-8, [127, -64, 1]), plan=SHORT)
    assert isinstance(reply, Contribution)
    assert fixedpoint.from_fixed(reply.values).tolist() == [127 / 256, -0.25, 1 / 256]


def test_an_update_in_8_bits_exactly_at_the_clip_passes_however_it_is_rounded() -> None:
    for _ in range(20):
        assert isinstance(screened(answer_to(SHORT, np.array([0.6, 0.003, 0.8])), plan=SHORT), Contribution)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (short(2.0**-7, [127, 20, 0]), "norm-beyond-clip"),
        (short(8e6, [1, 0, 0]), "norm-beyond-clip"),
        (short(9e6, [1, 0, 0]), "malformed"),
        (short(np.nan, [1, 0, 0]), "malformed"),
        (short(np.inf, [0, 0, 0]), "malformed"),
        (short(-0.001, [1, 0, 0]), "malformed"),
        (short(0.001, [-128, 0, 0]), "malformed"),
        (short(0.001, [1, 0]), "malformed"),
        (short(0.001, [1, 0, 0, 0]), "malformed"),
    ],
)
def test_what_is_wrong_with_an_update_in_8_bits_is_named(payload: bytes, code: str) -> None:
    reply = screened(payload, plan=SHORT)
    assert isinstance(reply, SiteFailure) and reply.code == code


def test_a_site_can_not_answer_in_another_encoding_than_it_was_asked_for() -> None:
    terms = replace(TRAIN, encoding="8-bit", dp=replace(TRAIN.dp, noise_multiplier=9.0))
    statement, body = unseal(answer_to(PLAN, UPDATE_P), AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    loosened = replace(statement, tightened=Tightened(terms=terms, codes=("noise-below-floor",)))
    reply = screened(seal(loosened, body, SITE_KEYS[NORTH]))
    assert isinstance(reply, SiteFailure) and reply.code == "terms-loosened"


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
