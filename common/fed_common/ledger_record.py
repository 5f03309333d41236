"""What a privacy ledger says, line by line: the half of it that needs no right to write.

Every line is a signed fact that carries the digest of the line before it, so that a changed, missing or
reordered line is named by its sequence number. The first line may be an opening: the privacy officer's
signed word that this ledger replaces another one. A change of the officer is a line, too.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from fed_common import signed_fact
from fed_common.accounting import Spend
from fed_common.errors import LedgerError, MalformedMessageError, TrustError
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.plans import Phase
from fed_common.signing import SigningKey, VerifyingKey

GENESIS = Digest("0" * 64)

# What a release protects. Where a site takes a file without a name for a patient, it is that file: a
# person's other files aren't hidden with it.
Unit = Literal["patient", "image file"]


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
    unit: Unit
    dataset: Digest
    officer: Digest
    policy: Digest
    spend: Spend
    previous: Digest


@dataclass(frozen=True, kw_only=True)
class Succession:
    """The word that another privacy officer, by fingerprint, takes the place of the one before."""

    site: SiteName
    before: Digest
    officer: Digest
    reason: str
    time: int


@dataclass(frozen=True, kw_only=True)
class OfficerChange:
    """The line about it; `signature` is that of the officer before, and empty if their key was lost."""

    seq: int
    succession: Succession
    signature: str
    previous: Digest

    @property
    def officer(self) -> Digest:
        """Return who is the officer from here on."""
        return self.succession.officer


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
    changes: tuple[OfficerChange, ...]
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
        facts: list[LedgerEvent | OfficerChange] = []
        for seq in range(len(lines)) if opening is None else range(1, len(lines)):
            fact = _fact(lines[seq], seq, key)
            if (fact.seq, fact.previous) != (seq, digests[seq - 1] if seq else GENESIS):
                raise LedgerError(f"ledger event {seq}: does not follow the event before it")
            facts.append(fact)
        return cls(
            opening=opening,
            events=tuple(fact for fact in facts if isinstance(fact, LedgerEvent)),
            changes=tuple(fact for fact in facts if isinstance(fact, OfficerChange)),
            digests=tuple(digests),
            fragment=fragment,
        )

    @property
    def spends(self) -> tuple[Spend, ...]:
        """Return what was spent, over all runs and versions of the data."""
        return tuple(event.spend for event in self.events)

    @property
    def officer(self) -> Digest | None:
        """Return the fingerprint of the officer by whose word was charged last, None where nothing was."""
        named: list[LedgerEvent | OfficerChange] = [*self.events[-1:], *self.changes[-1:]]
        if named:
            return max(named, key=lambda fact: fact.seq).officer
        return self.opening.officer if self.opening else None

    @property
    def unit(self) -> Unit:
        """Return what all releases together protect."""
        return weakest(event.unit for event in self.events)

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

    def up_to(self, head: LedgerHead) -> Self:
        """Return what the ledger said when it had come to `head`.

        Raises:
            LedgerError: it never had.
        """
        known = self.digests[: head.events]
        if len(known) != head.events or (known[-1] if known else GENESIS) != head.digest:
            raise LedgerError(f"this ledger never had the head {head.events}:{head.digest[:12]}")
        return replace(
            self,
            events=tuple(fact for fact in self.events if fact.seq < head.events),
            changes=tuple(fact for fact in self.changes if fact.seq < head.events),
            digests=known,
            fragment=b"",
        )

    def and_then(self, fact: LedgerEvent | OfficerChange, digest: Digest) -> Self:
        """Return the record with one more line."""
        longer = replace(self, digests=(*self.digests, digest))
        match fact:
            case LedgerEvent():
                return replace(longer, events=(*self.events, fact))
            case OfficerChange():
                return replace(longer, changes=(*self.changes, fact))


def weakest(units: Iterable[Unit]) -> Unit:
    """Return the unit that can be claimed of all: a patient, unless one of them is less."""
    return "image file" if "image file" in units else "patient"


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


def _fact(line: bytes, seq: int, key: VerifyingKey) -> LedgerEvent | OfficerChange:
    signed = line.removesuffix(b"\n")
    with suppress(MalformedMessageError, TrustError):
        return signed_fact.verify(signed, OfficerChange, key)
    try:
        return signed_fact.verify(signed, LedgerEvent, key)
    except (MalformedMessageError, TrustError) as error:
        raise LedgerError(f"ledger event {seq}: altered, or not signed by this site") from error
