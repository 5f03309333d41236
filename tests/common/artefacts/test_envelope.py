"""An envelope has one form, is readable by any in-toto tool, and whoever signed it counts once."""

import json
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, NORTH, SITE_KEYS
from tests.released_models import MANIFEST, SITE_SIGNS, cosigned

from fed_common.artefacts.envelope import MAX_ENVELOPE_BYTES, Envelope, Signature
from fed_common.artefacts.model_release import ModelRelease
from fed_common.artefacts.statement import decode_statement
from fed_common.checkpoint import Manifest
from fed_common.errors import MalformedMessageError, TrustError

KEYS = [COORDINATOR_SIGNS, *SITE_SIGNS.values()]


def test_the_envelope_is_dsse_and_the_statement_in_toto() -> None:
    outer = json.loads(cosigned())
    assert outer["payloadType"] == "application/vnd.in-toto+json"
    payload = b64decode(outer["payload"])
    # DSSE v1.0: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    for key, signature in zip(KEYS, outer["signatures"], strict=True):
        assert signature["keyid"] == key.fingerprint
        key.key.verify(b64decode(signature["sig"]), signed)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "model.safetensors", "digest": {"sha256": MANIFEST.file}}]
    assert statement["predicate"]["run"] == MANIFEST.run


def test_a_statement_of_one_kind_is_not_taken_for_another() -> None:
    statement = Envelope.read(cosigned()).statement
    assert decode_statement(statement, Manifest) == (MANIFEST.file, MANIFEST)
    with pytest.raises(MalformedMessageError, match="ModelRelease"):
        decode_statement(statement, ModelRelease)


def test_a_second_form_of_the_same_base64_is_refused() -> None:
    envelope = Envelope.read(cosigned())
    first = envelope.signatures[0]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    # Of 64 bytes, the last digit has four bits that stand for nothing.
    same = first.sig[:-3] + digits[digits.index(first.sig[-3]) ^ 1] + "=="
    assert b64decode(same) == b64decode(first.sig)
    other = replace(envelope, signatures=(replace(first, sig=same), *envelope.signatures[1:]))
    with pytest.raises(MalformedMessageError, match="one form"):
        other.refuse_unsigned(COORDINATOR_SIGNS)
    assert other.signers(KEYS) == {key.fingerprint for key in SITE_SIGNS.values()}


def test_a_signature_counts_once_and_a_stranger_s_or_a_forged_one_not_at_all() -> None:
    envelope = Envelope.read(cosigned())
    assert envelope.signers(KEYS) == {key.fingerprint for key in KEYS}
    twice = envelope.and_signed([Signature.by(SITE_KEYS[NORTH], envelope.statement)])
    assert twice.signers(KEYS) == envelope.signers(KEYS)
    assert envelope.signers(KEYS[:2]) == {key.fingerprint for key in KEYS[:2]}

    alone = Envelope.read(cosigned(sites=()))
    forged = replace(alone.signatures[0], keyid=SITE_SIGNS[NORTH].fingerprint)
    assert alone.and_signed([forged]).signers(KEYS) == {COORDINATOR_SIGNS.fingerprint}
    right = Signature.by(SITE_KEYS[NORTH], alone.statement)
    assert len(alone.and_signed([forged, right]).signers(KEYS)) == 2


def test_who_signs_first_is_the_coordinator() -> None:
    envelope = Envelope.read(cosigned())
    turned = replace(envelope, signatures=envelope.signatures[::-1])
    turned.signers(KEYS)
    with pytest.raises(TrustError, match="not signed by key"):
        turned.refuse_unsigned(COORDINATOR_SIGNS)
    with pytest.raises(TrustError, match="not signed by key"):
        replace(envelope, signatures=()).refuse_unsigned(COORDINATOR_SIGNS)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b" " * (MAX_ENVELOPE_BYTES + 1),
        cosigned() + b"\n",
        cosigned().replace(b"vnd.in-toto", b"vnd.in_toto"),
        Envelope.seal(b"{}", COORDINATOR_KEY).encode().replace(b64encode(b"{}"), b"e30"),
    ],
)
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        Envelope.read(raw)
