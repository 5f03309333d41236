"""What the coordinator writes into its audit log, and what it remembers of the sites' logs.

What the journal has in words isn't written twice: the log has the digest of each of its lines. A site's head
that contradicts an earlier one is told and written down, but the site isn't left out for it: its disk may
have died, and what counts is that nobody can deny it.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from fed_common import canonical
from fed_common.audit_log.facts import JournalWritten, LogForked, PlanAsked, SiteHeadSeen
from fed_common.audit_log.head import LogHead
from fed_common.audit_log.log import AuditLog
from fed_common.messages import RoundPlan
from fed_common.names import Digest, RunId, SiteName
from fed_common.plans import Phase
from fed_server.run_folder import RunFolder

logger = logging.getLogger(__name__)


class CoordinatorLog:
    """The coordinator's log; each method raises MachineError where the disk refuses."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._heads: dict[SiteName, dict[int, LogHead]] = {}
        self._asked: dict[tuple[RunId, int, Phase], Digest] = {}
        for line in log.read():
            match line.fact:
                case SiteHeadSeen(site=site, head=head):
                    self._heads.setdefault(site, {})[head.size] = head
                case PlanAsked() as fact:
                    self._asked[fact.run, fact.round, fact.phase] = fact.plan

    @property
    def head(self) -> LogHead:
        """Return how far the log has come."""
        return self._log.head()

    def asked(self, plan: RoundPlan) -> LogHead:
        """Write that a plan is asked, and return the head that goes out with it."""
        fact = PlanAsked(
            run=plan.run,
            round=plan.round,
            phase=plan.phase,
            plan=plan.digest,
            parameters=plan.parameters,
        )
        self._log.write("coordinator", fact)
        self._asked[plan.run, plan.round, plan.phase] = plan.digest
        return self.head

    def asked_otherwise(self, plan: RoundPlan) -> bool:
        """Tell whether this phase of the round was asked with another plan, which every log must show."""
        return self._asked.get((plan.run, plan.round, plan.phase), plan.digest) != plan.digest

    def seen(self, site: SiteName, head: LogHead) -> None:
        """Write which head a site has signed; one that is sent again isn't new."""
        known = self._heads.setdefault(site, {})
        before = known.get(head.size)
        if before is None:
            self._log.write("coordinator", SiteHeadSeen(site=site, head=head))
            known[head.size] = head
        elif before != head:
            logger.warning("%s has signed two heads of %d entries: its log was written anew", site, head.size)
            self._log.write("coordinator", LogForked(site=site, before=before, now=head))

    def journalled(self, run: RunId, line: Digest) -> None:
        """Write that a line, with this digest, was written into a run's journal."""
        self._log.write("coordinator", JournalWritten(run=run, line=line))

    def catch_up(self, runs: Iterable[RunFolder]) -> None:
        """Write what a crash has kept back of the runs' journals, after what it has torn is cut off."""
        # By the digests of the facts, which stay when their words are forgotten.
        known = Counter(line.entry.data for line in self._log.read())
        for folder in runs:
            folder.journal.mend()
            for line in folder.journal.digests():
                fact = canonical.digest(JournalWritten(run=folder.run, line=line))
                if known[fact] == 0:
                    self.journalled(folder.run, line)
                else:
                    known[fact] -= 1
