"""Begins a ledger anew by the privacy officer's word: the only way to another budget for the same patients.

The old ledger stays beside the new one. A crash between two writes leaves the old ledger, or a new one that
names the head its witness has seen; either opens.
"""

import time
from pathlib import Path

from fed_common import canonical, signed_fact
from fed_common.errors import LedgerError
from fed_common.files import exclusive, write_atomically
from fed_common.ledger_record import LedgerHead, LedgerOpening, LedgerReset, SignedReset
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey

MAX_REASON = 300
_BEFORE = "before-"


def sign_reset(officer: SigningKey, *, site: SiteName, replaces: LedgerHead, reason: str) -> LedgerOpening:
    """Return the officer's word that the ledger which had come to `replaces` is replaced.

    Raises:
        LedgerError: no reason is given, or one too long to be read.
    """
    reset = LedgerReset(site=site, replaces=replaces, reason=stripped_reason(reason), time=int(time.time()))
    return LedgerOpening(officer=officer.verifying_key.fingerprint, opened=SignedReset.by(officer, reset))


def stripped_reason(reason: str) -> str:
    """Return the reason for an officer's word, which the whole consortium may read.

    Raises:
        LedgerError: none is given, or one too long to be read.
    """
    if not 0 < len(reason.strip()) <= MAX_REASON:
        raise LedgerError(f"a reason of 1 to {MAX_REASON} characters is needed, got {len(reason)}")
    return reason.strip()


def reset_ledger(path: Path, opening: LedgerOpening, *, witness: Path, key: SigningKey) -> None:
    """Put a new ledger at `path` that begins with `opening`.

    Raises:
        MachineError: a file can't be written, or a daemon holds the ledger.
    """
    line = signed_fact.sign(opening, key) + b"\n"
    with exclusive(path.parent, owner="fed-client"):
        if path.exists():
            old = path.read_bytes()
            write_atomically(path.with_name(f"{_BEFORE}{digest_of(old)[:12]}.jsonl"), old)
        write_atomically(path, line)
        write_atomically(witness, canonical.encode(LedgerHead(events=1, digest=digest_of(line))))


def replaced_ledgers(path: Path) -> list[Path]:
    """Return the ledgers in whose place the one at `path` has come; one that was lost isn't among them."""
    return sorted(path.parent.glob(f"{_BEFORE}*.jsonl"))
