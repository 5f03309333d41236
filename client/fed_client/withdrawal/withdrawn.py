"""Keeps who withdrew, by pseudonym: without it, the next registration would take their files in again.

The list has a signed line for each patient, which names the line before it; every version of a data set says
how long the list was, so that a shorter one isn't believed.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fed_client.deidentification import Pseudonym
from fed_common import signed_fact
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.names import Digest, digest_of
from fed_common.signing import SigningKey, VerifyingKey

_FIRST = Digest("0" * 64)


@dataclass(frozen=True, kw_only=True, repr=False)  # pseudonyms
class PatientWithdrew:
    """One patient withdrew; the pseudonym says nothing outside this hospital."""

    seq: int
    patient: Pseudonym
    at: int
    previous: Digest


def read_withdrawn(state: Path, key: VerifyingKey) -> frozenset[Pseudonym]:
    """Return the patients who withdrew.

    Raises:
        TrustError: a line isn't this site's, is missing, or can't be read.
    """
    return frozenset(fact.patient for fact in _facts(_lines(state), key))


def note_withdrawn(state: Path, patients: Iterable[Pseudonym], key: SigningKey) -> None:
    """Add those who aren't in the list yet, all or none.

    Raises:
        TrustError: see `read_withdrawn`.
        MachineError: the disk refuses.
    """
    lines = _lines(state)
    known = {fact.patient for fact in _facts(lines, key.verifying_key)}
    for patient in sorted(set(patients) - known):
        fact = PatientWithdrew(
            seq=len(lines),
            patient=patient,
            at=int(time.time()),
            previous=digest_of(lines[-1]) if lines else _FIRST,
        )
        lines.append(signed_fact.sign(fact, key))
    _write(state, lines)


def sign_anew(state: Path, *, former: VerifyingKey, key: SigningKey) -> int:
    """Sign the list of a site whose key was another one before; return how many patients are in it.

    Done again, it changes nothing.

    Raises:
        TrustError: see `read_withdrawn`; `former` isn't the key that signed it.
        MachineError: the disk refuses.
    """
    before, lines = _lines(state), list[bytes]()
    with suppress(TrustError):
        return len(_facts(before, key.verifying_key))
    for fact in _facts(before, former):
        lines.append(signed_fact.sign(replace(fact, previous=digest_of(lines[-1]) if lines else _FIRST), key))
    if lines:
        _write(state, lines)
    return len(lines)


def _facts(lines: list[bytes], key: VerifyingKey) -> list[PatientWithdrew]:
    facts, previous = [], _FIRST
    for seq, line in enumerate(lines):
        try:
            fact = signed_fact.verify(line, PatientWithdrew, key)
        except (TrustError, MalformedMessageError) as error:
            raise TrustError(
                f"the list of who withdrew, line {seq + 1}: not this site's; of one with a new "
                "key, the privacy officer resets the ledger, naming the --former-identity"
            ) from error
        if (fact.seq, fact.previous) != (seq, previous):
            raise TrustError(f"the list of who withdrew, line {seq + 1}: doesn't follow the line before it")
        facts.append(fact)
        previous = digest_of(line)
    return facts


def _lines(state: Path) -> list[bytes]:
    try:
        return _path(state).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TrustError(f"{_path(state)}: can't be read ({error.strerror})") from error


def _write(state: Path, lines: list[bytes]) -> None:
    write_atomically(_path(state), b"".join(line + b"\n" for line in lines), private=True)


def _path(state: Path) -> Path:
    return state / "withdrawn.jsonl"
