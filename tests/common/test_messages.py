"""What the coordinator and the sites tell each other can't be altered, exchanged or replayed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import COORDINATOR_KEY, EVALUATE, NORTH, RUN, SITE_KEYS, STATISTICS, TRAIN, plan_of
from tests.masked_sessions import masked_plan

from fed_common import canonical, signed_fact
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.ledger_record import GENESIS, LedgerHead
from fed_common.messages import (
    MAX_STATEMENT_BYTES,
    AnswerStatement,
    PlanStatement,
    PrivacyStatement,
    header_of,
    refuse_expired,
    seal,
    sealed_parts,
    unseal,
)
from fed_common.names import RunId, SiteName, body_digest, digest_of
from fed_common.plans import SiteTerms, Terms, TrainTerms

BODY = b"parameters"
PUBLIC = COORDINATOR_KEY.verifying_key
STATEMENT = PlanStatement(plan=plan_of(), expires=1000, body=body_digest(BODY), log=EMPTY_LOG)
MESSAGE = seal(STATEMENT, BODY, COORDINATOR_KEY)


def answer() -> AnswerStatement:
    head = LedgerHead(events=0, digest=GENESIS)
    privacy = PrivacyStatement(
        unit="patient",
        epsilon=1.0,
        delta=1e-5,
        releases=1,
        accountant="exact",
        ledger=head,
        code=digest_of(b"code"),
    )
    return AnswerStatement(
        site=NORTH,
        run=RUN,
        round=1,
        phase="train",
        plan=plan_of().digest,
        body=body_digest(BODY),
        refusal=None,
        privacy=privacy,
        log=EMPTY_LOG,
    )


@pytest.mark.parametrize("terms", [TRAIN, EVALUATE, STATISTICS])
def test_a_message_is_read_back(terms: Terms) -> None:
    statement = replace(STATEMENT, plan=plan_of(terms))
    assert unseal(seal(statement, BODY, COORDINATOR_KEY), PlanStatement, PUBLIC) == (statement, BODY)


def test_a_body_is_copied_neither_into_its_message_nor_out_of_it() -> None:
    parts = sealed_parts(STATEMENT, BODY, COORDINATOR_KEY)
    assert parts[1] is BODY and b"".join(parts) == MESSAGE
    _, body = unseal(MESSAGE, PlanStatement, PUBLIC)
    assert isinstance(body, memoryview) and body.readonly and body.obj is MESSAGE


@pytest.mark.parametrize("length", range(17))
def test_a_body_lies_where_numbers_are_read_without_a_copy(length: int) -> None:
    statement = replace(STATEMENT, plan=replace(plan_of(), model="m" * length))
    header, _ = sealed_parts(statement, BODY, COORDINATOR_KEY)
    assert len(header) % 16 == 0
    message = header + BODY
    assert unseal(message, PlanStatement, PUBLIC) == (statement, BODY)
    assert header_of(message) == signed_fact.sign(statement, COORDINATOR_KEY)


@pytest.mark.parametrize(("spaces", "other"), [(16, b""), (1000, b""), (1, b"\n"), (0, b"\x00")])
def test_nothing_else_is_hidden_behind_a_statement(spaces: int, other: bytes) -> None:
    header = signed_fact.sign(STATEMENT, COORDINATOR_KEY) + b" " * spaces + other
    message = MESSAGE[:4] + len(header).to_bytes(4, "little") + header + BODY
    with pytest.raises(MalformedMessageError):
        unseal(message, PlanStatement, PUBLIC)


def test_a_plan_asks_for_no_masked_updates_in_8_bits() -> None:
    plan = masked_plan(3)
    assert isinstance(plan.terms, TrainTerms)
    with pytest.raises(ConfigError, match="8-bit updates can't be masked: sites' scales don't add up"):
        replace(plan, terms=replace(plan.terms, encoding="8-bit"))


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(position: int, bit: int) -> None:
    message = bytearray(MESSAGE)
    message[position] ^= 1 << bit
    with pytest.raises((MalformedMessageError, TrustError)):
        unseal(bytes(message), PlanStatement, PUBLIC)


@given(st.integers(0, len(MESSAGE) - 1))
def test_a_cut_message_is_refused(length: int) -> None:
    with pytest.raises((MalformedMessageError, TrustError)):
        unseal(MESSAGE[:length], PlanStatement, PUBLIC)


def test_a_body_from_another_message_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="body"):
        unseal(MESSAGE.removesuffix(BODY) + b"other", PlanStatement, PUBLIC)


def test_a_statement_of_a_gigabyte_is_refused_by_its_length() -> None:
    header = b"FED2" + (1 << 30).to_bytes(4, "little")
    with pytest.raises(MalformedMessageError, match="short"):
        unseal(header + bytes(MAX_STATEMENT_BYTES + 1), PlanStatement, PUBLIC)


def test_a_signed_answer_is_not_accepted_as_a_plan() -> None:
    message = seal(answer(), BODY, COORDINATOR_KEY)
    with pytest.raises(TrustError):
        unseal(message, PlanStatement, PUBLIC)


def test_a_plan_signed_by_a_site_is_refused() -> None:
    with pytest.raises(TrustError):
        unseal(seal(STATEMENT, BODY, SITE_KEYS[NORTH]), PlanStatement, PUBLIC)


@pytest.mark.parametrize("epsilon", [b"NaN", b"Infinity", b"1e999"])
def test_an_epsilon_that_is_no_number_is_malformed_even_if_signed(epsilon: bytes) -> None:
    payload_type = "application/vnd.fed.AnswerStatement.v1+json"
    payload = canonical.encode(answer()).replace(b'"epsilon":1.0', b'"epsilon":' + epsilon)
    signature = COORDINATOR_KEY.sign(payload_type=payload_type, payload=payload).hex().encode()
    header = b'{"fact":%s,"signature":"%s"}' % (payload, signature)
    with pytest.raises(MalformedMessageError):
        unseal(b"FED2" + len(header).to_bytes(4, "little") + header + BODY, AnswerStatement, PUBLIC)


def test_an_expired_plan_is_refused_and_one_of_this_second_is_not() -> None:
    refuse_expired(STATEMENT, now=1000.0)
    with pytest.raises(TrustError, match="expired 600 s ago"):
        refuse_expired(STATEMENT, now=1600.0)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/tmp/x", "a/b", "", "a\nb", "A", "-x"])
def test_names_that_could_lead_a_path_astray_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        replace(plan_of(), run=RunId(name))
    with pytest.raises(ConfigError):
        SiteTerms(name=SiteName(name), patients=1)


def test_plans_that_differ_in_anything_have_other_digests() -> None:
    plan = plan_of()
    others = (plan_of(number=2), replace(plan, terms=EVALUATE), replace(plan, cohort=plan.cohort[:2]))
    assert len({plan.digest, *(other.digest for other in others)}) == 4
