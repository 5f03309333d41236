"""A DSSE envelope: one statement with the signatures of all who vouch for it, as any in-toto tool reads it.

An envelope is read only if `encode` would have written it, so that no byte of it can be changed unnoticed.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self

from fed_common import canonical
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.names import Digest
from fed_common.signing import SigningKey, VerifyingKey

PAYLOAD_TYPE: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One signature; `keyid` is the fingerprint of the key."""

    keyid: Digest
    sig: str

    @classmethod
    def by(cls, key: SigningKey, payload: bytes) -> Self:
        """Return the owner's signature of a statement."""
        raw = key.sign(payload_type=PAYLOAD_TYPE, payload=payload)
        return cls(keyid=key.verifying_key.fingerprint, sig=b64encode(raw).decode("ascii"))

    def verify(self, key: VerifyingKey, payload: bytes) -> None:
        """Return only if `key` made it of this statement.

        Raises:
            TrustError: it did not.
            MalformedMessageError: it is no signature.
        """
        key.verify(_from_base64(self.sig), payload_type=PAYLOAD_TYPE, payload=payload)

    def holds(self, key: VerifyingKey, payload: bytes) -> bool:
        """Tell whether `key` made it of this statement."""
        try:
            self.verify(key, payload)
        except (TrustError, MalformedMessageError):
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A statement in base64 and who signed it, the first of all the coordinator."""

    payload: str
    payloadType: Literal["application/vnd.in-toto+json"] = PAYLOAD_TYPE  # noqa: N815 (DSSE's name)
    signatures: tuple[Signature, ...]

    @classmethod
    def seal(cls, statement: bytes, key: SigningKey) -> Self:
        """Return the statement, signed by the owner of `key`."""
        payload = b64encode(statement).decode("ascii")
        return cls(payload=payload, signatures=(Signature.by(key, statement),))

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Return the envelope in a file; no signature of it is checked yet.

        Raises:
            MalformedMessageError: it is none, or too large.
        """
        if len(raw) > MAX_ENVELOPE_BYTES:
            raise MalformedMessageError(f"{len(raw)} bytes are no envelope, at most {MAX_ENVELOPE_BYTES} are")
        envelope = canonical.decode(raw, cls)
        _from_base64(envelope.payload)
        return envelope

    @property
    def statement(self) -> bytes:
        """Return what was signed."""
        return _from_base64(self.payload)

    def encode(self) -> bytes:
        """Return the envelope as a file."""
        return canonical.encode(self)

    def and_signed(self, signatures: Iterable[Signature]) -> Self:
        """Return the envelope with more signatures."""
        return replace(self, signatures=(*self.signatures, *signatures))

    def refuse_unsigned(self, key: VerifyingKey) -> None:
        """Return only if the owner of `key` signed first.

        Raises:
            TrustError: somebody else did, or nobody.
        """
        if not self.signatures or self.signatures[0].keyid != key.fingerprint:
            raise TrustError(f"not signed by key {key.spoken}")
        self.signatures[0].verify(key, self.statement)

    def signers(self, keys: Iterable[VerifyingKey]) -> frozenset[Digest]:
        """Return the fingerprints of those among `keys` who signed.

        A stranger's signature, or one that doesn't hold, counts for nothing and spoils nothing: otherwise a
        key that was exchanged since would make unusable what it signed with others.
        """
        known = {key.fingerprint: key for key in keys}
        statement = self.statement
        return frozenset(
            signature.keyid
            for signature in self.signatures
            if signature.keyid in known and signature.holds(known[signature.keyid], statement)
        )


def _from_base64(text: str) -> bytes:
    try:
        raw = b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedMessageError("an envelope's parts must be base64") from error
    if b64encode(raw).decode("ascii") != text:  # the last digit may have bits that stand for nothing
        raise MalformedMessageError("an envelope's parts must be base64 in its one form")
    return raw
