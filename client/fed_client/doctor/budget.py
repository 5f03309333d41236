"""Says what the hospital's policy and ledger still allow: above all, how many rounds the budget affords."""

from collections.abc import Callable, Iterator, Sequence

from fed_client.config import SiteConfig
from fed_client.doctor.check import Check, failed
from fed_client.policy import SitePolicy
from fed_common.accounting import Accountant, Spend, charged_epsilon
from fed_common.errors import FedError, LedgerError, TrustError
from fed_common.ledger_record import LedgerEvent, LedgerRecord
from fed_common.signing import SigningKey

# Enough to say "many": each trial costs an accountant a fraction of a second.
MOST_ROUNDS = 4096


def check_budget(config: SiteConfig, accountants: Sequence[Accountant]) -> Iterator[Check]:
    """Yield how the ledger and the budget are; nothing is charged by looking."""
    try:
        events = LedgerRecord.read(config.ledger, SigningKey.load(config.identity).verifying_key).events
    except (LedgerError, TrustError) as error:
        yield failed("ledger", error, advice="restore ledger and witness from backup; never delete them")
        return
    except FedError as error:
        yield failed("ledger", error, advice="make the site's keys with `fed-client keys`")
        return
    policy = config.policy
    spent = charged_epsilon([event.spend for event in events], policy.delta, accountants)
    yield Check(
        subject="ledger",
        status="ok",
        found=f"{len(events)} events, verified; epsilon {spent:.3f} of {policy.epsilon:g} "
        f"at delta {policy.delta:g} per patient",
    )
    yield _rounds(events, policy, accountants)


def _rounds(events: Sequence[LedgerEvent], policy: SitePolicy, accountants: Sequence[Accountant]) -> Check:
    trained = [event.spend for event in events if event.kind == "charge" and event.phase == "train"]
    kind, one_round = ("like the last", trained[-1]) if trained else ("at the policy's limits", None)
    rounds = rounds_afforded(
        [event.spend for event in events], one_round or policy.costliest_round(), policy, accountants
    )
    many = f"at least {rounds}" if rounds == MOST_ROUNDS else str(rounds)
    found = f"affords {many} more rounds {kind}"
    if rounds == 0:
        return Check(
            subject="budget",
            status="failure" if trained else "warning",
            found=found,
            advice="the site will refuse such rounds; only the privacy officer can raise policy.epsilon"
            if trained
            else "rounds with more noise may still be affordable; ask the coordinator for the run's terms",
        )
    return Check(subject="budget", status="ok", found=found)


def rounds_afforded(
    spent: Sequence[Spend], one_round: Spend, policy: SitePolicy, accountants: Sequence[Accountant]
) -> int:
    """Return how many more rounds like `one_round` fit into the budget, at most `MOST_ROUNDS`."""

    def affords(rounds: int) -> bool:
        more = Spend(
            noise_multiplier=one_round.noise_multiplier,
            sampling_rate=one_round.sampling_rate,
            steps=rounds * one_round.steps,
        )
        return charged_epsilon([*spent, more], policy.delta, accountants) <= policy.epsilon

    return _largest(affords, MOST_ROUNDS)


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that `holds`, which is monotonic; 0 if 1 doesn't."""
    low, high = 0, 1
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
