"""The hospital's privacy budget on disk: without it, a restart or a new run would be a new budget.

The ledger is a text file of one signed fact per line. It keeps four promises:

1. A charge is on disk before the data are touched, and is never taken back.
2. Every line carries the digest of the line before it and the site's signature, so that a changed, missing
   or reordered line is named by its sequence number.
3. A witness file, kept in a second place, holds the head after the last charge; and the coordinator signs
   the heads it has seen into every plan. A ledger that lacks a witnessed head is refused.
4. A last line torn by a power cut counts as the costliest round that the policy allows.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fed_common import canonical, signed_fact
from fed_common.accounting import Spend
from fed_common.errors import LedgerError, MalformedMessageError, TrustError
from fed_common.files import append_durably, exclusive, write_atomically
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
    """One fact: what was released, about which data, for which run, under which policy."""

    seq: int
    time: int
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
class LedgerSubject:
    """Whose patients are charged, in which data set, and under which policy."""

    site: SiteName
    dataset: Digest
    policy: Digest


class PrivacyLedger:
    """The running record of one site; open it with `PrivacyLedger.held`, which locks it."""

    def __init__(
        self, path: Path, lines: Sequence[bytes], *, witness: Path, key: SigningKey, subject: LedgerSubject
    ) -> None:
        self._path = path
        self._witness = witness
        self._subject = subject
        self._key = key
        self._events = list(read_events(lines, key.verifying_key))
        self._digests = [digest_of(line) for line in lines]

    @classmethod
    @contextmanager
    def held(
        cls, path: Path, *, witness: Path, key: SigningKey, subject: LedgerSubject, costliest: Spend
    ) -> Iterator[Self]:
        """Hold the ledger at `path` for this process, whole and verified.

        `costliest` is what a half-written last line counts as: the most that the policy allows a round.

        Raises:
            LedgerError: the ledger is gone, older than its witness, altered, or signed by another key.
            MachineError: another process holds it.
        """
        with exclusive(path.parent, owner="fed-client"):
            lines, fragment = _read_lines(path)
            ledger = cls(path, lines, witness=witness, key=key, subject=subject)
            # Before the mending, which moves the witness on: a torn line must not hide an older copy.
            ledger._compare_with_witness()
            if fragment:
                # The torn bytes go first: appended to, they would spoil the next line.
                write_atomically(path, b"".join(lines))
                ledger._append("torn-line", RunId("unknown"), 0, "train", costliest)
            yield ledger

    @property
    def events(self) -> tuple[LedgerEvent, ...]:
        """Return all facts, oldest first."""
        return tuple(self._events)

    @property
    def spends(self) -> tuple[Spend, ...]:
        """Return what was spent, over all runs."""
        return tuple(event.spend for event in self._events)

    @property
    def head(self) -> LedgerHead:
        """Return how far the ledger has come."""
        return LedgerHead(events=len(self._digests), digest=self._digests[-1] if self._digests else GENESIS)

    def contains(self, head: LedgerHead) -> bool:
        """Tell whether this ledger grew out of the one with that head."""
        if head.events == 0:
            return head.digest == GENESIS
        return 0 < head.events <= len(self._digests) and self._digests[head.events - 1] == head.digest

    def charged(self, run: RunId, round_number: int, phase: Phase) -> bool:
        """Tell whether that round was paid for already."""
        return any((e.run, e.round, e.phase) == (run, round_number, phase) for e in self._events)

    def charge(self, run: RunId, round_number: int, phase: Phase, spend: Spend) -> LedgerHead:
        """Write a release down for good; only after this returns may the data be touched.

        Raises:
            MachineError: it could not be written, so nothing may be trained.
        """
        return self._append("charge", run, round_number, phase, spend)

    def _append(
        self, kind: Literal["charge", "torn-line"], run: RunId, round_number: int, phase: Phase, spend: Spend
    ) -> LedgerHead:
        event = LedgerEvent(
            seq=len(self._events),
            time=int(time.time()),
            kind=kind,
            site=self._subject.site,
            run=run,
            round=round_number,
            phase=phase,
            dataset=self._subject.dataset,
            policy=self._subject.policy,
            spend=spend,
            previous=self.head.digest,
        )
        line = signed_fact.sign(event, self._key) + b"\n"
        append_durably(self._path, line)
        self._events.append(event)
        self._digests.append(digest_of(line))
        write_atomically(self._witness, canonical.encode(self.head))
        return self.head

    def _compare_with_witness(self) -> None:
        if not self._witness.exists():
            if self._events:
                raise LedgerError(f"{self._witness}: the ledger's witness is missing; restore it from backup")
            return
        try:
            witnessed = canonical.decode(self._witness.read_bytes(), LedgerHead)
        except (OSError, MalformedMessageError) as error:
            raise LedgerError(f"{self._witness}: the ledger's witness is unreadable") from error
        if not self.contains(witnessed):
            raise LedgerError(
                f"{self._path}: the ledger is missing or older than its witness, which has seen "
                f"{witnessed.events} events (found {len(self._events)}); budget can't be given back"
            )


def read_ledger(path: Path, key: VerifyingKey) -> tuple[LedgerEvent, ...]:
    """Return the facts in the ledger at `path`, for reading only.

    Raises:
        LedgerError: it is unreadable or altered.
    """
    lines, _ = _read_lines(path)
    return tuple(read_events(lines, key))


def read_events(lines: Sequence[bytes], key: VerifyingKey) -> Iterator[LedgerEvent]:
    """Yield the facts in `lines`, each verified.

    Raises:
        LedgerError: a line is altered, out of order or not signed by `key`; its number is named.
    """
    previous = GENESIS
    for seq, raw in enumerate(lines):
        try:
            event = signed_fact.verify(raw.removesuffix(b"\n"), LedgerEvent, key)
        except (MalformedMessageError, TrustError) as error:
            raise LedgerError(f"ledger event {seq}: altered, or not signed by this site") from error
        if (event.seq, event.previous) != (seq, previous):
            raise LedgerError(f"ledger event {seq}: does not follow the event before it")
        previous = digest_of(raw)
        yield event


def _read_lines(path: Path) -> tuple[list[bytes], bytes]:
    """Return the whole lines and, after a power cut, what was left of the last one."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return [], b""
    except OSError as error:
        raise LedgerError(f"{path}: can't be read ({error.strerror})") from error
    *whole, fragment = raw.split(b"\n")
    return [line + b"\n" for line in whole], fragment
