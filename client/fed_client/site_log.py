"""What a site writes into its audit log about the coordinator's messages, and how it opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fed_common import canonical
from fed_common.audit_log.facts import (
    CosignatureGiven,
    CosignatureRefused,
    MessageRefused,
    PlanAccepted,
    PlanAnswered,
    PlanRefused,
)
from fed_common.audit_log.head import LogHead
from fed_common.audit_log.log import AuditLog
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import PlanStatement, RefusalCode, RoundPlan, StepStatement, refuse_expired, unseal
from fed_common.names import Bytes, Digest, SiteName
from fed_common.signing import VerifyingKey

Asked = TypeVar("Asked", PlanStatement, StepStatement)


@dataclass(frozen=True, kw_only=True)
class SiteLog:
    """One site's log; each method raises MachineError where the disk refuses, and then nothing is done."""

    site: SiteName
    log: AuditLog

    @property
    def head(self) -> LogHead:
        """Return how far the log has come."""
        return self.log.head()

    def unsealed(self, message: bytes, kind: type[Asked], coordinator: VerifyingKey) -> tuple[Asked, Bytes]:
        """Return what the coordinator signed, not too long ago; anything else leaves a trace.

        Raises:
            TrustError: it isn't the coordinator's, or is too old.
            MalformedMessageError: it is no message of that kind.
        """
        with self.tracing_strangers():
            statement, body = unseal(message, kind, coordinator)
        try:
            refuse_expired(statement)
        except TrustError:
            self.log.write(self.site, MessageRefused(code="expired"))
            raise
        return statement, body

    @contextmanager
    def tracing_strangers(self) -> Iterator[None]:
        """Write down, and raise on, that what came isn't the coordinator's, or isn't what it says."""
        try:
            yield
        except MalformedMessageError:
            self.log.write(self.site, MessageRefused(code="malformed"))
            raise
        except TrustError:
            self.log.write(self.site, MessageRefused(code="untrusted"))
            raise

    def accepted(self, statement: PlanStatement) -> None:
        """Write that a plan was accepted, and which head of its log the coordinator signed with it."""
        plan, head = statement.plan, statement.log
        fact = PlanAccepted(
            run=plan.run,
            round=plan.round,
            phase=plan.phase,
            plan=plan.digest,
            parameters=plan.parameters,
            coordinator=head,
        )
        self.log.write(self.site, fact)

    def answered(self, plan: RoundPlan, *, body: Digest, ledger: Digest, again: bool = False) -> None:
        """Write that an answer with this body is on disk, and the ledger's head after it.

        One that is sent `again` is written down only if a crash came between disk and log.
        """
        fact = PlanAnswered(
            run=plan.run, round=plan.round, phase=plan.phase, plan=plan.digest, body=body, ledger=ledger
        )
        # By the digest, which stays when the words are forgotten.
        if not again or all(line.entry.data != canonical.digest(fact) for line in self.log.read()):
            self.log.write(self.site, fact)

    def cosigned(self, statement: Digest, *, given: bool) -> None:
        """Write that the model of a finished run was co-signed, or wasn't."""
        kind = CosignatureGiven if given else CosignatureRefused
        self.log.write(self.site, kind(statement=statement))

    def refused(self, plan: RoundPlan, code: RefusalCode) -> None:
        """Write that a plan, or a step of its masked round, was refused."""
        fact = PlanRefused(run=plan.run, round=plan.round, phase=plan.phase, plan=plan.digest, code=code)
        self.log.write(self.site, fact)
