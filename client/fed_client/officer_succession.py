"""Puts another privacy officer in the place of the one that a site knows, and writes it into the ledger.

The officer before signs who comes after. Where their key is lost, nobody can: the line in the ledger is then
without a signature, and ledger, exports and each start of the site say so from then on.
"""

import time

from fed_client.config import SiteConfig
from fed_client.countersignature import countersignature_of
from fed_client.signed_policy import known_officer, remember_officer
from fed_common.errors import PrivacyError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.ledger_record import LedgerRecord, OfficerChange, Succession
from fed_common.ledger_reset import stripped_reason
from fed_common.names import Digest
from fed_common.signed_fact import signature_of
from fed_common.signing import SigningKey, VerifyingKey


def hand_over(config: SiteConfig, successor: VerifyingKey, *, by: SigningKey | None, reason: str) -> None:
    """Accept the signatures of `successor` from now on, and no longer those of the officer before.

    `by` is the key of the officer before, None if it is lost. After a crash, it is done again.

    Raises:
        PrivacyError: `by` isn't the officer's whom the site knows, or there is none, or no reason is given.
        MachineError: a daemon holds the ledger, or a file can't be written.
    """
    record = LedgerRecord.read(config.ledger, config.signing_key.verifying_key)
    known = known_officer(config.state)
    before = record.officer or (known.officer if known else None)
    if before is None:
        raise PrivacyError(
            "this site knows no officer yet: whom site.toml names at its first start is the one"
        )
    succession = Succession(
        site=config.name,
        before=before,
        officer=successor.fingerprint,
        reason=stripped_reason(reason),
        time=int(time.time()),
    )
    if before != successor.fingerprint:
        _write_down(config, succession, by=by)
    # Last: a crash in between leaves the line in the ledger, and a site that asks for the rest of it.
    remember_officer(config.state, succession.officer, signed=succession.time)


def told(change: OfficerChange) -> str:
    """Return what to tell whoever looks at the ledger."""
    made = change.succession
    day = time.strftime("%Y-%m-%d", time.gmtime(made.time))
    how = "by the one before" if change.signature else "WITHOUT the one before, whose key was lost"
    return (
        f"Privacy officer {made.officer[:16]} in place of {made.before[:16]} from {day}, {how}: {made.reason}"
    )


def _write_down(config: SiteConfig, succession: Succession, *, by: SigningKey | None) -> None:
    if by is not None and by.verifying_key.fingerprint != succession.before:
        raise PrivacyError(f"the key is not the one of the officer before, {succession.before[:16]}")
    with PrivacyLedger.held(
        config.ledger,
        witness=config.witness,
        key=config.signing_key,
        subject=LedgerSubject(
            site=config.name,
            dataset=Digest("unknown"),  # of a torn line, should there be one
            unit=config.terms.unit,
            officer=succession.before,
            policy=config.terms.digest,
        ),
        costliest=config.policy.costliest_round(),
    ) as ledger:
        countersignature_of(config).refuse_older(ledger.record)
        ledger.change_officer(succession, signature_of(succession, by) if by else "")
