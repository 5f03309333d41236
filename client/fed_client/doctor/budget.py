"""Says what the hospital's policy and ledger still allow: above all, how many rounds the budget affords."""

from collections.abc import Iterator, Sequence

from fed_client.config import SiteConfig
from fed_client.doctor.check import Check, failed
from fed_client.policy import SitePolicy
from fed_common.accounting import Accountant
from fed_common.budget import MANY, Budget
from fed_common.errors import FedError, LedgerError, TrustError
from fed_common.ledger_record import LedgerEvent, LedgerRecord, weakest


def check_budget(config: SiteConfig, accountants: Sequence[Accountant]) -> Iterator[Check]:
    """Yield how the ledger and the budget are; nothing is charged by looking."""
    try:
        record = LedgerRecord.read(config.ledger, config.signing_key.verifying_key)
    except (LedgerError, TrustError) as error:
        yield failed("ledger", error, advice="restore ledger and witness from backup; never delete them")
        return
    except FedError as error:
        yield failed("ledger", error, advice="`fed-client enroll` makes the site's keys")
        return
    events, policy = record.events, config.policy
    budget, unit = policy.budget(accountants), weakest((record.unit, config.terms.unit))
    spent = budget.spent([event.spend for event in events])
    yield Check(
        subject="ledger",
        status="ok",
        found=f"{len(events)} events, verified; epsilon {spent:.3f} of {policy.epsilon:g} "
        f"at delta {policy.delta:g} per {unit}; in full: `fed-client ledger show`",
    )
    yield _rounds(events, policy, budget)


def _rounds(events: Sequence[LedgerEvent], policy: SitePolicy, budget: Budget) -> Check:
    trained = [event.spend for event in events if event.kind == "charge" and event.phase == "train"]
    kind, one_round = ("like the last", trained[-1]) if trained else ("at the policy's limits", None)
    rounds = budget.times([event.spend for event in events], [one_round or policy.costliest_round()])
    many = f"at least {rounds}" if rounds == MANY else str(rounds)
    found = f"affords {many} more rounds {kind}"
    if rounds == 0:
        return Check(
            subject="budget",
            status="failure" if trained else "warning",
            found=found,
            advice="the site will refuse such rounds; only the privacy officer can raise policy.epsilon"
            if trained
            else "rounds with more noise may still be affordable: `fed-client ledger plan`",
        )
    return Check(subject="budget", status="ok", found=found)
