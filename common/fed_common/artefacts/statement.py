"""In-toto statements: which file is spoken of, by its digest, and what is said of it.

The parts are found by position, and what is said is read as `canonical` reads facts, so that a statement has
one form and one reading.

Source: https://github.com/in-toto/attestation/blob/v1.0/spec/v1.0/statement.md
"""

import re
from typing import TYPE_CHECKING

from fed_common import canonical
from fed_common.canonical import Fact
from fed_common.errors import MalformedMessageError
from fed_common.names import Digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SUBJECT = "model.safetensors"
_TEMPLATE = (
    b'{"_type":"https://in-toto.io/Statement/v1","predicate":%s,"predicateType":"%s",'
    b'"subject":[{"digest":{"sha256":"%s"},"name":"' + SUBJECT.encode() + b'"}]}'
)
_FORM = re.compile(
    re.escape(_TEMPLATE)
    .replace(b"%s", b"(.*)", 1)
    .replace(b"%s", b'([^"]*)', 1)
    .replace(b"%s", b"([0-9a-f]{64})"),
    re.DOTALL,
)


def encode_statement(predicate: "DataclassInstance", *, subject: Digest) -> bytes:
    """Return the statement that says `predicate` of the model file with the digest `subject`."""
    return _TEMPLATE % (canonical.encode(predicate), _predicate_type(type(predicate)), subject.encode())


def decode_statement(raw: bytes, kind: type[Fact]) -> tuple[Digest, Fact]:
    """Return the digest of the model file, and what is said of it.

    Raises:
        MalformedMessageError: it is no statement that says a `kind`.
    """
    parts = _FORM.fullmatch(raw)
    if parts is None or parts[2] != _predicate_type(kind):
        raise MalformedMessageError(f"not a statement with a {kind.__name__}")
    return Digest(parts[3].decode("ascii")), canonical.decode(parts[1], kind)


def _predicate_type(kind: type[object]) -> bytes:
    return f"urn:fed:{kind.__name__}:v1".encode("ascii")
