"""Lays logs side by side: what one says of another, and what all were asked, must agree.

Nobody can rewrite one log without contradicting the heads that the others have seen, and nobody can ask two
sites different things without their logs showing it. Logs contradict each other if

1. one has written down a head of another that this one never had;
2. they have written down different heads of one size: the coordinator shows each another log;
3. they have different plans for one phase of one round, of which each has one only;
4. a site accepted a plan that isn't in the coordinator's log, below the head that came with it.

Of what a witness has let go (`AuditLog.forget`) nothing can be compared; what the coordinator has let go of
is still there by its digest.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import permutations

from fed_common import canonical
from fed_common.audit_log.facts import PlanAccepted, PlanAsked, SiteHeadSeen
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.audit_log.head import LogHead
from fed_common.names import Digest, RunId
from fed_common.plans import Phase

COORDINATOR = "coordinator"

_Question = tuple[RunId, int, Phase]


def contradictions(*logs: CheckedLog) -> Iterator[str]:
    """Yield a line for each thing in which the logs can't all be true; even one alone may be untrue."""
    for witness, log in permutations(logs, 2):
        yield from _rewritten(witness, log)  # 1
    yield from _shown_differently(logs)  # 2
    yield from _asked_differently(logs)  # 3
    for witness, log in permutations(logs, 2):
        if log.owner == COORDINATOR:
            yield from _never_asked(witness, log)  # 4


def _rewritten(witness: CheckedLog, log: CheckedLog) -> Iterator[str]:
    for head in heads_seen(witness, of=log.owner):
        if not log.contains(head):
            yield (
                f"{witness.owner} has seen {log.owner}'s log with {head.size} entries and the root "
                f"{head.root[:16]}; this log never had it: it was rewritten, or cut"
            )


def _shown_differently(logs: tuple[CheckedLog, ...]) -> Iterator[str]:
    shown: defaultdict[int, dict[LogHead, str]] = defaultdict(dict)
    for log in logs:
        for head in heads_seen(log, of=COORDINATOR):
            shown[head.size].setdefault(head, log.owner)
    for size, heads in sorted(shown.items()):
        if len(heads) > 1:
            seen = ", ".join(f"{owner} has seen the root {head.root[:16]}" for head, owner in heads.items())
            yield f"the coordinator's log with {size} entries: {seen}: it shows different logs"


def _asked_differently(logs: tuple[CheckedLog, ...]) -> Iterator[str]:
    asked: defaultdict[_Question, dict[Digest, str]] = defaultdict(dict)
    for log in logs:
        for question, found in plans(log).items():
            for plan in sorted(found):
                asked[question].setdefault(plan, log.owner)
    for (run, number, phase), owners in sorted(asked.items()):
        if len(owners) > 1:
            has = ", ".join(f"{owner} has plan {plan[:16]}" for plan, owner in owners.items())
            yield f"run {run}, round {number} {phase}: {has}: the coordinator asked different things"


def _never_asked(witness: CheckedLog, coordinator: CheckedLog) -> Iterator[str]:
    first: dict[Digest, int] = {}
    for line in coordinator.lines:
        first.setdefault(line.entry.data, line.entry.seq)
    for line in witness.lines:
        if not isinstance(accepted := line.fact, PlanAccepted):
            continue
        asked = first.get(canonical.digest(_asked(accepted)))
        if asked is None or asked >= accepted.coordinator.size:
            yield (
                f"run {accepted.run}, round {accepted.round} {accepted.phase}: {witness.owner} accepted plan "
                f"{accepted.plan[:16]}, which wasn't in the coordinator's log when it was asked"
            )


def _asked(accepted: PlanAccepted) -> PlanAsked:
    """Return what the coordinator must have written down of a plan."""
    return PlanAsked(
        run=accepted.run,
        round=accepted.round,
        phase=accepted.phase,
        plan=accepted.plan,
        parameters=accepted.parameters,
    )


def heads_seen(witness: CheckedLog, *, of: str) -> Iterator[LogHead]:
    """Yield the heads of another log that a log has written down, oldest first."""
    for line in witness.lines:
        match line.fact:
            case PlanAccepted(coordinator=head) if of == COORDINATOR:
                yield head
            case SiteHeadSeen(site=site, head=head) if of == site and witness.owner == COORDINATOR:
                yield head


def plans(log: CheckedLog) -> Mapping[_Question, frozenset[Digest]]:
    """Return the plans of each phase of each round, as the coordinator asked them or a site accepted them."""
    found: defaultdict[_Question, set[Digest]] = defaultdict(set)
    for line in log.lines:
        if isinstance(fact := line.fact, PlanAsked | PlanAccepted):
            found[fact.run, fact.round, fact.phase].add(fact.plan)
    return {question: frozenset(asked) for question, asked in found.items()}
