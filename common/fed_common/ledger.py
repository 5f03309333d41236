"""The hospital's privacy budget on disk: without it, a restart or a new run would be a new budget.

The ledger is a text file of one signed fact per line (`fed_common.ledger_record`). It keeps four promises:

1. A charge is on disk before the data are touched, and is never taken back.
2. Only lines that this site signed, in one chain, are a ledger.
3. A witness file, kept in a second place, holds the head after the last charge; and the coordinator signs
   the heads it has seen into every plan. A ledger that lacks a witnessed head is refused.
4. A last line torn by a power cut counts as the costliest round that the policy allows.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fed_common import canonical, signed_fact
from fed_common.accounting import Spend
from fed_common.errors import LedgerError, MalformedMessageError
from fed_common.files import append_durably, exclusive, write_atomically
from fed_common.ledger_record import (
    LedgerEvent,
    LedgerHead,
    LedgerRecord,
    OfficerChange,
    Succession,
    Unit,
    read_lines,
    weakest,
)
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.plans import Phase
from fed_common.signing import SigningKey


@dataclass(frozen=True, kw_only=True)
class LedgerSubject:
    """Whose patients are charged, in which data set, what counts as one, and under whose policy.

    `officer` is the fingerprint of the key that signed the policy.
    """

    site: SiteName
    dataset: Digest
    unit: Unit
    officer: Digest
    policy: Digest


class PrivacyLedger:
    """The running record of one site; open it with `PrivacyLedger.held`, which locks it."""

    def __init__(
        self, path: Path, record: LedgerRecord, *, witness: Path, key: SigningKey, subject: LedgerSubject
    ) -> None:
        self._path = path
        self._record = record
        self._witness = witness
        self._subject = subject
        self._key = key

    @classmethod
    @contextmanager
    def held(
        cls, path: Path, *, witness: Path, key: SigningKey, subject: LedgerSubject, costliest: Spend
    ) -> Iterator[Self]:
        """Hold the ledger at `path` for this process, whole and verified.

        `costliest` is what a half-written last line counts as: the most that the policy allows a round.

        Raises:
            LedgerError: the ledger is gone, older than its witness, altered, signed by another key, or was
                charged last by the word of another officer.
            MachineError: another process holds it.
        """
        with exclusive(path.parent, owner="fed-client"):
            yield cls.opened(path, witness=witness, key=key, subject=subject, costliest=costliest)

    @classmethod
    def opened(
        cls, path: Path, *, witness: Path, key: SigningKey, subject: LedgerSubject, costliest: Spend
    ) -> Self:
        """Return the ledger, whole and verified, to who keeps other processes away from it; see `held`."""
        lines, fragment = read_lines(path)
        ledger = cls(
            path,
            LedgerRecord.of(lines, key.verifying_key),
            witness=witness,
            key=key,
            subject=subject,
        )
        # Before the witness moves on: neither a torn line nor a crash may hide an older copy.
        refuse_older_than_witness(ledger.record, witness)
        ledger._refuse_other_officer()
        if fragment:
            ledger._mend(b"".join(lines), costliest)
        elif read_witness(witness) != ledger.head:
            # Also of a ledger without lines: else the first line, crashed after, would have lost its witness.
            ledger._tell_witness()
        return ledger

    @property
    def record(self) -> LedgerRecord:
        """Return what the ledger says now."""
        return self._record

    @property
    def events(self) -> tuple[LedgerEvent, ...]:
        """Return all facts, oldest first."""
        return self._record.events

    @property
    def spends(self) -> tuple[Spend, ...]:
        """Return what was spent, over all runs."""
        return self._record.spends

    @property
    def unit(self) -> Unit:
        """Return what is protected, once this data set is charged, too."""
        return weakest((self._record.unit, self._subject.unit))

    @property
    def head(self) -> LedgerHead:
        """Return how far the ledger has come."""
        return self._record.head

    def contains(self, head: LedgerHead) -> bool:
        """Tell whether this ledger grew out of the one with that head."""
        return self._record.contains(head)

    def charged(self, run: RunId, round_number: int, phase: Phase) -> bool:
        """Tell whether that round was paid for already."""
        return any((e.run, e.round, e.phase) == (run, round_number, phase) for e in self.events)

    def charge(self, run: RunId, round_number: int, phase: Phase, spend: Spend) -> LedgerHead:
        """Write a release down for good; only after this returns may the data be touched.

        Raises:
            MachineError: it could not be written, so nothing may be trained.
        """
        event, line = self._next("charge", run, round_number, phase, spend)
        append_durably(self._path, line)
        return self._written(event, line)

    def change_officer(self, succession: Succession, signature: str) -> None:
        """Write down that another officer takes the place of this one; then it is held for that one only.

        Raises:
            MachineError: it could not be written.
        """
        head = self.head
        change = OfficerChange(
            seq=head.events, succession=succession, signature=signature, previous=head.digest
        )
        line = signed_fact.sign(change, self._key) + b"\n"
        append_durably(self._path, line)
        self._written(change, line)

    def _refuse_other_officer(self) -> None:
        known = self._record.officer
        if known not in (None, self._subject.officer):
            raise LedgerError(
                f"the ledger's officer is {known[:16]}, not {self._subject.officer[:16]}, whom site.toml "
                f"names; the one before hands over with `fed-client policy hand-over`"
            )

    def _mend(self, whole: bytes, costliest: Spend) -> None:
        """Put a costliest round in the place of a torn line, in one step: a crash can't lose it."""
        event, line = self._next("torn-line", RunId("unknown"), 0, "train", costliest)
        write_atomically(self._path, whole + line)
        self._written(event, line)

    def _next(
        self, kind: Literal["charge", "torn-line"], run: RunId, round_number: int, phase: Phase, spend: Spend
    ) -> tuple[LedgerEvent, bytes]:
        head = self.head
        event = LedgerEvent(
            seq=head.events,
            time=int(time.time()),
            nonce=secrets.token_hex(8),
            kind=kind,
            site=self._subject.site,
            run=run,
            round=round_number,
            phase=phase,
            unit=self._subject.unit,
            dataset=self._subject.dataset,
            officer=self._subject.officer,
            policy=self._subject.policy,
            spend=spend,
            previous=head.digest,
        )
        return event, signed_fact.sign(event, self._key) + b"\n"

    def _written(self, fact: LedgerEvent | OfficerChange, line: bytes) -> LedgerHead:
        self._record = self._record.and_then(fact, digest_of(line))
        self._tell_witness()
        return self.head

    def _tell_witness(self) -> None:
        write_atomically(self._witness, canonical.encode(self.head))


def read_witness(witness: Path) -> LedgerHead | None:
    """Return the head that the witness has seen, None where there is no witness.

    Raises:
        LedgerError: it can't be read.
    """
    try:
        return canonical.decode(witness.read_bytes(), LedgerHead)
    except FileNotFoundError:
        return None
    except (OSError, MalformedMessageError) as error:
        raise LedgerError(f"{witness}: the ledger's witness is unreadable") from error


def refuse_older_than_witness(record: LedgerRecord, witness: Path) -> None:
    """Return only if the ledger holds all that its witness has seen.

    Raises:
        LedgerError: it doesn't, or the witness is gone.
    """
    witnessed = read_witness(witness)
    if witnessed is None:
        if record.digests:
            raise LedgerError(f"{witness}: the ledger's witness is missing; restore it from backup")
    elif not record.contains(witnessed):
        raise LedgerError(
            f"the ledger is missing or older than its witness {witness}, which has seen "
            f"{witnessed.events} events (found {record.head.events}); budget can't be given back"
        )
