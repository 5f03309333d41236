"""One encoding for every fact: canonical JSON, so that equal facts have equal bytes and equal digests.

Decoding accepts only what encoding would have written. An unknown field, another order of keys, a number
in another form or a NaN is refused, which leaves no room for two readings of one signed text.
"""

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from fed_common.errors import FedError, MalformedMessageError
from fed_common.names import Digest, digest_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Fact = TypeVar("Fact", bound="DataclassInstance")


def encode(fact: "DataclassInstance") -> bytes:
    """Return the dataclass as canonical JSON: sorted keys, no white space, ASCII, finite numbers."""
    return json.dumps(fact, default=_fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(
        "ascii"
    )


def _fields(fact: "DataclassInstance") -> dict[str, object]:
    """Return a dataclass as JSON knows it; `asdict` would copy all that is in it, which takes far longer."""
    return {name: getattr(fact, name) for name in _names(type(fact))}


@cache
def _names(kind: type["DataclassInstance"]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def digest(fact: "DataclassInstance") -> Digest:
    """Return the digest of the canonical encoding."""
    return digest_of(encode(fact))


def decode(raw: bytes, kind: type[Fact]) -> Fact:
    """Return the fact that `encode` wrote.

    Raises:
        MalformedMessageError: `raw` is not the canonical encoding of a `kind`.
    """
    try:
        fact: Fact = _adapter(kind).validate_json(raw, strict=True)
        canonical = encode(fact)
    except (ValueError, FedError) as error:  # pydantic's refusal, and that of a NaN, are ValueErrors
        raise MalformedMessageError(f"not a {kind.__name__}") from error
    if canonical != raw:
        raise MalformedMessageError(f"not the canonical encoding of a {kind.__name__}")
    return fact


@cache
def _adapter(kind: type[Fact]) -> TypeAdapter[Fact]:
    return TypeAdapter(kind)
