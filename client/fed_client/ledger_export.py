"""What an auditor takes away: all lines of a ledger and what they add up to, in one signed file.

Whoever has the file and the site's public key can check every line and add the spending up again; nothing
of the hospital's is needed, and nothing about a patient is in it.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fed_client.policy import SitePolicy
from fed_client.privacy_statement import state_privacy
from fed_common import signed_fact
from fed_common.accounting import Accountant, charged_epsilon
from fed_common.errors import LedgerError, MalformedMessageError, TrustError
from fed_common.ledger_record import LedgerRecord
from fed_common.messages import PrivacyStatement
from fed_common.names import SiteName
from fed_common.signing import SigningKey, VerifyingKey

# Accountants of another release may round differently; a forged total would be further off.
_EPSILON_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class LedgerExport:
    """The lines of a ledger as they stand, and the site's statement of their totals."""

    version: Literal[1] = 1
    site: SiteName
    exported: int
    budget: float
    privacy: PrivacyStatement
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VerifiedExport:
    """An export whose signatures, chain and totals hold."""

    export: LedgerExport
    record: LedgerRecord


def export_ledger(
    lines: Sequence[bytes],
    *,
    site: SiteName,
    key: SigningKey,
    policy: SitePolicy,
    accountants: Sequence[Accountant],
) -> bytes:
    """Return the signed file.

    Raises:
        LedgerError: the ledger is altered.
    """
    record = LedgerRecord.of(lines, key.verifying_key)
    export = LedgerExport(
        site=site,
        exported=int(time.time()),
        budget=policy.epsilon,
        privacy=state_privacy(record, policy, accountants),
        lines=tuple(line.decode("ascii").removesuffix("\n") for line in lines),
    )
    return signed_fact.sign(export, key) + b"\n"


def verify_export(raw: bytes, key: VerifyingKey, accountants: Sequence[Accountant]) -> VerifiedExport:
    """Return what the file says, after every line and the totals were checked.

    Raises:
        LedgerError: a line or a total doesn't hold; the line's number is named.
    """
    try:
        export = signed_fact.verify(raw.removesuffix(b"\n"), LedgerExport, key)
    except (MalformedMessageError, TrustError) as error:
        raise LedgerError("not an export that the owner of this key signed") from error
    record = LedgerRecord.of([line.encode("ascii") + b"\n" for line in export.lines], key)
    stated = export.privacy
    if (stated.ledger, stated.releases) != (record.head, len(record.events)):
        raise LedgerError("the export states another head or number of releases than its lines have")
    epsilon = charged_epsilon(record.spends, stated.delta, accountants)
    if not math.isclose(epsilon, stated.epsilon, abs_tol=_EPSILON_TOLERANCE):
        raise LedgerError(f"the export states epsilon {stated.epsilon:.3f}, its lines cost {epsilon:.3f}")
    return VerifiedExport(export=export, record=record)
