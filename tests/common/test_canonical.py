"""One fact, one spelling: whatever `encode` would not have written is refused."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fed_common import canonical
from fed_common.errors import MalformedMessageError


@dataclass(frozen=True, kw_only=True)
class Fact:
    name: str
    value: float
    counts: tuple[int, ...] = ()


facts = st.builds(
    Fact,
    name=st.text(st.characters(codec="utf-8")),
    value=st.floats(allow_nan=False, allow_infinity=False),
    counts=st.lists(st.integers()).map(tuple),
)


@given(facts)
def test_a_fact_survives_the_way_there_and_back(fact: Fact) -> None:
    assert canonical.decode(canonical.encode(fact), Fact) == fact


def test_equal_facts_have_equal_bytes() -> None:
    assert canonical.encode(Fact(value=0.1, name="ü")) == b'{"counts":[],"name":"\\u00fc","value":0.1}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"counts":[],"extra":1,"name":"a","value":0.5}',
        b'{"counts":[],"name":"a"}',
        b'{"name":"a","counts":[],"value":0.5}',
        b'{"counts":[],"name":"a","name":"a","value":0.5}',
        b'{"counts": [],"name":"a","value":0.5}',
        b'{"counts":[],"name":"a","value":5e-1}',
        b'{"counts":[],"name":"a","value":1}',
        b'{"counts":[],"name":"a","value":"0.5"}',
        b'{"counts":[true],"name":"a","value":0.5}',
        b'{"counts":[],"name":"a","value":NaN}',
        b'{"counts":[],"name":"a","value":Infinity}',
        b'{"counts":[],"name":"a","value":1e999}',
        b'{"counts":[],"name":"\\ud800","value":0.5}',
        b'{"counts":[],"name":"a","value":0.5}\n',
        b"[" * 100_000,
        b"\xff",
        b"",
    ],
)
def test_any_other_spelling_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        canonical.decode(raw, Fact)


@given(facts, st.data())
def test_a_changed_byte_is_another_fact_or_none(fact: Fact, data: st.DataObject) -> None:
    raw = bytearray(canonical.encode(fact))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = canonical.decode(bytes(raw), Fact)
    except MalformedMessageError:
        return
    assert canonical.digest(changed) != canonical.digest(fact)
