"""Says what a site's patients have given away up to now, in the words that travel and are exported."""

from collections.abc import Sequence

from fed_client.policy import SitePolicy
from fed_common.accounting import Accountant, charged_epsilon
from fed_common.code_version import code_digest
from fed_common.ledger_record import LedgerRecord
from fed_common.messages import PrivacyStatement


def state_privacy(
    record: LedgerRecord, policy: SitePolicy, accountants: Sequence[Accountant]
) -> PrivacyStatement:
    """Return the statement over all runs in the ledger, at the delta of the policy."""
    spends = record.spends
    return PrivacyStatement(
        unit=record.unit,
        epsilon=charged_epsilon(spends, policy.delta, accountants),
        delta=policy.delta,
        releases=len(spends),
        accountant="max of " + ", ".join(accountant.name for accountant in accountants),
        ledger=record.head,
        reset=record.opening.opened if record.opening else None,
        code=code_digest(),
    )
