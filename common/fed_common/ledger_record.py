"""What a privacy ledger says, line by line: the half of it that needs no right to write.

Every line is a signed fact that carries the digest of the line before it, so that a changed, missing or
reordered line is named by its sequence number. The first line may be an opening: the privacy officer's
signed word that this ledger replaces another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fed_common import signed_fact
from fed_common.accounting import Spend
from fed_common.errors import LedgerError, MalformedMessageError, TrustError
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.plans import Phase
from fed_common.signing import SigningKey, VerifyingKey

GENESIS = Digest("0" * 64)


@dataclass(frozen=True, kw_only=True)
class LedgerHead:
    """How far a ledger has come: the number of its lines and the digest of the last one."""

    events: int
    digest: Digest


@dataclass(frozen=True, kw_only=True)
class LedgerEvent:
    """One fact: what was released, about which data, for which run, under which policy.

    `nonce` is random: two ledgers that part after a restored backup have different heads, so it shows.
    """

    seq: int
    time: int
    nonce: str
    kind: Literal["charge", "torn-line"]
    site: SiteName
    run: RunId
    round: int
    phase: Phase
    unit: Literal["patient"] = "patient"
    dataset: Digest
    policy: Digest
    spend: Spend
    previous: Digest


@dataclass(frozen=True, kw_only=True)
class LedgerReset:
    """The officer's word: a new budget begins, in place of the ledger that had come to `replaces`."""

    site: SiteName
    replaces: LedgerHead
    reason: str
    time: int


@dataclass(frozen=True, kw_only=True)
class SignedReset:
    """A reset with its signature; it travels in every answer, so that the whole consortium sees it."""

    reset: LedgerReset
    signature: str

    @classmethod
    def by(cls, officer: SigningKey, reset: LedgerReset) -> Self:
        """Return the reset, signed by the privacy officer."""
        return cls(reset=reset, signature=signed_fact.signature_of(reset, officer))

    def verify(self, officer: VerifyingKey) -> None:
        """Return only if the officer signed it.

        Raises:
            TrustError: somebody else did.
        """
        signed_fact.verify_signature(self.reset, self.signature, officer)


@dataclass(frozen=True, kw_only=True)
class LedgerOpening:
    """The first line of a ledger that replaces another, signed by the site; `officer` is a fingerprint."""

    officer: Digest
    opened: SignedReset


@dataclass(frozen=True, kw_only=True)
class LedgerRecord:
    """The verified content of a ledger; `fragment` is what a power cut left of a last line."""

    opening: LedgerOpening | None
    events: tuple[LedgerEvent, ...]
    digests: tuple[Digest, ...]
    fragment: bytes = b""

    @classmethod
    def read(cls, path: Path, key: VerifyingKey) -> Self:
        """Return what the ledger at `path` says; a file that isn't there is an empty ledger.

        Raises:
            LedgerError: it is unreadable or altered.
        """
        lines, fragment = read_lines(path)
        return cls.of(lines, key, fragment=fragment)

    @classmethod
    def of(cls, lines: Sequence[bytes], key: VerifyingKey, *, fragment: bytes = b"") -> Self:
        """Return what `lines` say.

        Raises:
            LedgerError: a line is altered, out of order or not signed by `key`; its number is named.
        """
        opening = _opening(lines[0], key) if lines else None
        digests = [digest_of(line) for line in lines]
        events: list[LedgerEvent] = []
        for seq in range(len(lines)) if opening is None else range(1, len(lines)):
            event = _event(lines[seq], seq, key)
            if (event.seq, event.previous) != (seq, digests[seq - 1] if seq else GENESIS):
                raise LedgerError(f"ledger event {seq}: does not follow the event before it")
            events.append(event)
        return cls(opening=opening, events=tuple(events), digests=tuple(digests), fragment=fragment)

    @property
    def spends(self) -> tuple[Spend, ...]:
        """Return what was spent, over all runs and versions of the data."""
        return tuple(event.spend for event in self.events)

    @property
    def head(self) -> LedgerHead:
        """Return how far the ledger has come."""
        return LedgerHead(events=len(self.digests), digest=self.digests[-1] if self.digests else GENESIS)

    def contains(self, head: LedgerHead) -> bool:
        """Tell whether this ledger grew out of the one with that head, or replaces it."""
        if self.opening and head == self.opening.opened.reset.replaces:
            return True
        if head.events == 0:
            return head.digest == GENESIS
        return 0 < head.events <= len(self.digests) and self.digests[head.events - 1] == head.digest

    def and_then(self, event: LedgerEvent, digest: Digest) -> Self:
        """Return the record with one more line."""
        events, digests = (*self.events, event), (*self.digests, digest)
        return type(self)(opening=self.opening, events=events, digests=digests)


def read_lines(path: Path) -> tuple[list[bytes], bytes]:
    """Return the whole lines and, after a power cut, what was left of the last one.

    Raises:
        LedgerError: the file can't be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return [], b""
    except OSError as error:
        raise LedgerError(f"{path}: can't be read ({error.strerror})") from error
    *whole, fragment = raw.split(b"\n")
    return [line + b"\n" for line in whole], fragment


def _opening(line: bytes, key: VerifyingKey) -> LedgerOpening | None:
    try:
        return signed_fact.verify(line.removesuffix(b"\n"), LedgerOpening, key)
    except (MalformedMessageError, TrustError):
        return None  # then it must be an event


def _event(line: bytes, seq: int, key: VerifyingKey) -> LedgerEvent:
    try:
        return signed_fact.verify(line.removesuffix(b"\n"), LedgerEvent, key)
    except (MalformedMessageError, TrustError) as error:
        raise LedgerError(f"ledger event {seq}: altered, or not signed by this site") from error
