"""A fact and its signature in one line of JSON: the form of ledger lines, manifests and message headers.

    {"fact":{...canonical JSON...},"signature":"128 hexadecimal digits"}

The two parts are found by position, not by parsing, so that the signature is checked before anything is read.
"""

import re
from typing import TYPE_CHECKING

from fed_common import canonical
from fed_common.canonical import Fact
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.signing import SigningKey, VerifyingKey

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_FORM = re.compile(rb'\{"fact":(\{.*\}),"signature":"([0-9a-f]{128})"\}', re.DOTALL)


def sign(fact: "DataclassInstance", key: SigningKey) -> bytes:
    """Return the line that says `fact` and that the owner of `key` says so."""
    payload = canonical.encode(fact)
    signature = key.sign(payload_type=_payload_type(type(fact)), payload=payload)
    return b'{"fact":%s,"signature":"%s"}' % (payload, signature.hex().encode())


def verify(line: bytes, kind: type[Fact], key: VerifyingKey) -> Fact:
    """Return the fact in `line`.

    Raises:
        MalformedMessageError: the line is no signed `kind`.
        TrustError: the signature isn't that of `key`.
    """
    parts = _FORM.fullmatch(line)
    if parts is None:
        raise MalformedMessageError(f"not a signed {kind.__name__}")
    payload, signature = parts[1], bytes.fromhex(parts[2].decode())
    key.verify(signature, payload_type=_payload_type(kind), payload=payload)
    return canonical.decode(payload, kind)


def signature_of(fact: "DataclassInstance", key: SigningKey) -> str:
    """Return the signature alone, for a fact that is part of another one."""
    return key.sign(payload_type=_payload_type(type(fact)), payload=canonical.encode(fact)).hex()


def verify_signature(fact: "DataclassInstance", signature: str, key: VerifyingKey) -> None:
    """Return only if the owner of `key` made `signature` of `fact`.

    Raises:
        TrustError: they did not.
    """
    try:
        raw = bytes.fromhex(signature)
    except ValueError as error:
        raise TrustError("a signature must be hexadecimal") from error
    key.verify(raw, payload_type=_payload_type(type(fact)), payload=canonical.encode(fact))


def _payload_type(kind: type[object]) -> str:
    # The type is part of what is signed: a signed answer can't be passed off as a signed plan.
    return f"application/vnd.fed.{kind.__name__}.v1+json"
