"""Lays two logs side by side: what one says of the other, and what both were asked, must agree.

Nobody can rewrite one log without contradicting the heads that the others have seen, and nobody can ask two
sites different things without their logs showing it. What is let go (`AuditLog.forget`) can't be compared.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from fed_common.audit_log.facts import PlanAccepted, PlanAsked, SiteHeadSeen
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.audit_log.head import LogHead
from fed_common.names import Digest, RunId
from fed_common.plans import Phase

COORDINATOR = "coordinator"

_Question = tuple[RunId, int, Phase]


def contradictions(one: CheckedLog, other: CheckedLog) -> Iterator[str]:
    """Yield a line for each thing in which the two logs can't both be true."""
    for witness, log in ((one, other), (other, one)):
        for head in heads_seen(witness, of=log.owner):
            if not log.contains(head):
                yield (
                    f"{witness.owner} has seen {log.owner}'s log with {head.size} entries and the root "
                    f"{head.root[:16]}; this log never had it: it was rewritten, or cut"
                )
    mine, theirs = plans(one), plans(other)
    for question in sorted(mine.keys() & theirs.keys()):
        if not _agree(mine[question], theirs[question]):
            run, number, phase = question
            yield (
                f"run {run}, round {number} {phase}: {one.owner} has {_short(mine[question])}, {other.owner} "
                f"has {_short(theirs[question])}: they were asked different things"
            )


def _agree(mine: frozenset[Digest], theirs: frozenset[Digest]) -> bool:
    """Tell whether all that one log has of a phase is in the other, too.

    A site accepts one plan. A coordinator that crashed may have asked again for counts of another candidate,
    because other sites were there; then its log has both.
    """
    return mine <= theirs or theirs <= mine


def _short(asked: frozenset[Digest]) -> str:
    return "plan " + " and ".join(sorted(digest[:16] for digest in asked))


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
