"""A signed line says one thing, about one kind of fact, by one person."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import new_key

from fed_common import canonical, signed_fact
from fed_common.errors import MalformedMessageError, TrustError


@dataclass(frozen=True, kw_only=True)
class Promise:
    text: str


@dataclass(frozen=True, kw_only=True)
class Threat:
    text: str


KEY = new_key()
LINE = signed_fact.sign(Promise(text="we'll keep to it"), KEY)


def test_a_signed_fact_is_read_back() -> None:
    assert signed_fact.verify(LINE, Promise, KEY.verifying_key) == Promise(text="we'll keep to it")


@given(st.integers(0, len(LINE) - 1), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(position: int, bit: int) -> None:
    line = bytearray(LINE)
    line[position] ^= 1 << bit
    with pytest.raises((MalformedMessageError, TrustError)):
        signed_fact.verify(bytes(line), Promise, KEY.verifying_key)


def test_another_key_is_refused() -> None:
    with pytest.raises(TrustError):
        signed_fact.verify(LINE, Promise, new_key().verifying_key)


def test_a_fact_of_the_same_form_but_another_kind_is_refused() -> None:
    with pytest.raises(TrustError, match="Threat"):
        signed_fact.verify(LINE, Threat, KEY.verifying_key)


def test_a_signature_does_not_save_another_spelling() -> None:
    payload = canonical.encode(Promise(text="a")).replace(b":", b": ")
    kind = "application/vnd.fed.Promise.v1+json"
    signature = KEY.sign(payload_type=kind, payload=payload).hex().encode()
    with pytest.raises(MalformedMessageError):
        signed_fact.verify(b'{"fact":%s,"signature":"%s"}' % (payload, signature), Promise, KEY.verifying_key)


@pytest.mark.parametrize("line", [b"", b"{}", LINE + b"\n", LINE[:-1], b" " + LINE])
def test_anything_around_the_line_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        signed_fact.verify(line, Promise, KEY.verifying_key)
