"""A phase of a round ends with a result and a word about every site, whatever the sites send."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    EAST,
    FIRST_P,
    NORTH,
    NUM_PARAMETERS,
    SITE_KEYS,
    SITES,
    SOUTH,
    DirectExchange,
    ObedientSite,
    answer_to,
    coordinator_log,
    new_key,
    plan_of,
)

from fed_common.checkpoint import parameter_bytes
from fed_common.messages import PlanStatement, unseal
from fed_common.names import SiteName
from fed_server.aggregation import WeightedMean
from fed_server.exchange import Answer, NoAnswer, Question
from fed_server.rounds import Coordinator, RoundOutcome, run_round
from fed_server.screening import SiteReply

PLAN = plan_of()
UPDATE_P = np.full(NUM_PARAMETERS, 2.0**-10)


def obedient() -> dict[SiteName, Callable[[bytes], bytes]]:
    return {site: ObedientSite(site, 2.0**-10) for site in SITES}


def asked(
    exchange: DirectExchange, *, quorum: int = 2, replies: list[SiteReply] | None = None
) -> RoundOutcome[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    coordinator = Coordinator(
        key=COORDINATOR_KEY,
        site_keys={site: key.verifying_key for site, key in SITE_KEYS.items()},
        officer_keys={},
        log=coordinator_log(),
        exchange=exchange,
        quorum=quorum,
        deadline_s=60.0,
    )
    heard: list[SiteReply] = [] if replies is None else replies
    return run_round(
        PLAN,
        parameter_bytes(FIRST_P),
        WeightedMean(NUM_PARAMETERS),
        coordinator=coordinator,
        check=lambda reply: reply,
        on_reply=heard.append,
    )


def test_all_sites_get_the_same_sealed_plan_and_model() -> None:
    exchange = DirectExchange(obedient())
    outcome = asked(exchange)
    (question,) = exchange.questions
    statement, body = unseal(question.payload, PlanStatement, COORDINATOR_SIGNS)
    assert (statement.plan, body) == (PLAN, parameter_bytes(FIRST_P))
    assert (question.sites, question.deadline_s) == (SITES, 60.0)
    assert outcome.answered.keys() == set(SITES)
    assert outcome.result is not None and np.array_equal(outcome.result, UPDATE_P)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"garbage", "malformed"),
        (answer_to(PLAN, UPDATE_P, site=EAST, key=new_key()), "untrusted"),
        (answer_to(plan_of(number=2), UPDATE_P, site=EAST), "wrong-plan"),
        (answer_to(PLAN, UPDATE_P * 1000, site=EAST), "norm-beyond-clip"),
    ],
)
def test_one_bad_site_is_left_out_and_named(payload: bytes, code: str) -> None:
    replies: list[SiteReply] = []
    outcome = asked(DirectExchange({**obedient(), EAST: lambda _: payload}), replies=replies)
    assert [(failure.site, failure.code) for failure in outcome.failures] == [(EAST, code)]
    assert outcome.answered.keys() == {NORTH, SOUTH}
    assert outcome.result is not None and np.array_equal(outcome.result, UPDATE_P)
    assert len(replies) == 3


def test_below_the_quorum_there_is_no_result() -> None:
    outcome = asked(DirectExchange(obedient(), offline={EAST, SOUTH}))
    assert outcome.result is None
    assert {failure.site: failure.code for failure in outcome.failures} == {EAST: "offline", SOUTH: "offline"}


class Stuttering(DirectExchange):
    """Delivers a second, different answer of the first site."""

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        yield from super().ask(question)
        yield Answer(site=NORTH, payload=answer_to(PLAN, UPDATE_P / 2))


def test_of_two_answers_the_first_counts() -> None:
    outcome = asked(Stuttering(obedient()))
    assert outcome.result is not None and np.array_equal(outcome.result, UPDATE_P)
