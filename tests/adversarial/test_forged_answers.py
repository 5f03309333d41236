"""Faults 1 to 6 at the coordinator's door: what a site sends wrong is left out by name, and moves nothing.

Where a forgery could do harm, it is shown to do so when it is folded without being screened.
"""

import json

import numpy as np
import pytest
from tests.fakes import (
    EAST,
    NORTH,
    NUM_PARAMETERS,
    SITE_KEYS,
    SOUTH,
    DirectExchange,
    answer_to,
    plan_of,
    privacy_of,
)
from tests.server.robust.cohorts import contribution
from tests.server.test_rounds import PLAN, UPDATE_P, asked, obedient

from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.errors import MalformedMessageError
from fed_common.messages import AnswerStatement, header_of, seal
from fed_common.names import Bytes, body_digest
from fed_server.aggregation import WeightedMean
from fed_sim.attacks.forged_updates import not_a_number

NAN_P = not_a_number(NUM_PARAMETERS)
KEY = SITE_KEYS[EAST]


def with_body(body: Bytes) -> bytes:
    """Return a well-signed answer of EAST with any bytes where its update should be."""
    statement = AnswerStatement(
        site=EAST,
        run=PLAN.run,
        round=PLAN.round,
        phase=PLAN.phase,
        plan=PLAN.digest,
        body=body_digest(body),
        refusal=None,
        privacy=privacy_of(),
        log=EMPTY_LOG,
    )
    return seal(statement, body, KEY)


def with_number_of_examples(number: float) -> bytes:
    """Return an answer of EAST that states how many examples it is worth, as Flower's clients do."""
    good = answer_to(PLAN, UPDATE_P, site=EAST)
    fact = json.loads(header_of(good))["fact"] | {"num_examples": number}
    payload = json.dumps(fact, sort_keys=True, separators=(",", ":")).encode()
    signature = KEY.sign(payload_type="application/vnd.fed.AnswerStatement.v1+json", payload=payload)
    header = b'{"fact":%s,"signature":"%s"}' % (payload, signature.hex().encode())
    body = fixedpoint.to_bytes(fixedpoint.to_fixed(UPDATE_P))
    return good[:4] + len(header).to_bytes(4, "little") + header + body


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(with_body(fixedpoint.to_bytes(NAN_P)), "norm-beyond-clip", id="1: NaN"),
        pytest.param(
            with_body(np.full(NUM_PARAMETERS, np.inf).tobytes()), "norm-beyond-clip", id="1: infinity"
        ),
        pytest.param(answer_to(PLAN, UPDATE_P[1:], site=EAST), "malformed", id="2: one parameter missing"),
        pytest.param(answer_to(PLAN, np.zeros(1), site=EAST), "malformed", id="2: shape (1,)"),
        pytest.param(with_body(UPDATE_P.astype("<f4").tobytes()), "malformed", id="2: float32"),
        pytest.param(with_body(UPDATE_P.astype("<f8").tobytes()), "norm-beyond-clip", id="2: float64"),
        pytest.param(answer_to(PLAN, UPDATE_P * 1000, site=EAST), "norm-beyond-clip", id="3: too long"),
        pytest.param(with_number_of_examples(0), "malformed", id="4: no examples"),
        pytest.param(with_number_of_examples(-1), "malformed", id="4: -1 examples"),
        pytest.param(with_number_of_examples(1e9), "malformed", id="4: 1e9 examples"),
        pytest.param(with_number_of_examples(float("nan")), "malformed", id="4: NaN examples"),
        pytest.param(answer_to(plan_of(number=0), UPDATE_P, site=EAST), "wrong-plan", id="6: an old round"),
        pytest.param(answer_to(plan_of(number=2), UPDATE_P, site=EAST), "wrong-plan", id="6: the next round"),
    ],
)
def test_a_forged_answer_is_left_out_by_name_and_moves_nothing(payload: bytes, code: str) -> None:
    outcome = asked(DirectExchange({**obedient(), EAST: lambda _: payload}))
    assert [(failure.site, failure.code) for failure in outcome.failures] == [(EAST, code)]
    assert outcome.answered.keys() == {NORTH, SOUTH}
    assert outcome.result is not None and np.array_equal(outcome.result, UPDATE_P)


def test_the_form_that_carries_a_number_of_examples_is_signed_as_it_should_be() -> None:
    """So that the field alone is what is refused above."""
    good = answer_to(PLAN, UPDATE_P, site=EAST)
    rebuilt = with_number_of_examples(1)
    assert rebuilt.replace(b'"num_examples":1,', b"")[8:200] == good[8:200]


def test_unscreened_one_nan_or_one_long_update_ruins_the_mean() -> None:
    for forged_P in (NAN_P, fixedpoint.to_fixed(UPDATE_P * 1e9)):
        opened = WeightedMean(NUM_PARAMETERS).open(PLAN)
        opened.fold(contribution(NORTH, fixedpoint.to_fixed(UPDATE_P)))
        opened.fold(contribution(EAST, forged_P))
        assert np.abs(opened.close()).max() > 1e4


def test_an_honest_site_can_not_even_encode_a_nan() -> None:
    with pytest.raises(MalformedMessageError, match="not finite"):
        fixedpoint.to_fixed(np.array([0.0, np.nan]))
