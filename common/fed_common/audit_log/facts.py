"""The list of all that may be written into an audit log in words; whatever isn't here can't get in.

There is no free text: a field is a number, a digest, a name, or one of a closed list of words
(tests/common/audit_log/test_facts.py). What has words of its own, as the coordinator's journal and the
register of sites, stays where it is; the log has the digest of each line.
"""

from dataclasses import dataclass
from typing import Literal

from fed_common.audit_log.head import LogHead
from fed_common.messages import RefusalCode
from fed_common.names import Digest, RunId, SiteName
from fed_common.plans import Phase

DoorCode = Literal[
    "handshake-failed",
    "unknown-path",
    "no-certificate",
    "certificate-refused",
    "node-key-differs",
    "login-refused",
    "length-refused",
    "too-slow",
    "too-many-connections",
    "too-many-requests",
    "connection-cut",
    "enrolment-refused",
]
LinkCode = Literal["question-malformed", "question-too-large"]
RefusedCode = Literal[DoorCode, LinkCode]


@dataclass(frozen=True, kw_only=True)
class PlanAsked:
    """The coordinator's: all sites were asked this, to begin with these parameters."""

    run: RunId
    round: int
    phase: Phase
    plan: Digest
    parameters: Digest


@dataclass(frozen=True, kw_only=True)
class JournalWritten:
    """The coordinator's: the journal of a run has another line, with this digest."""

    run: RunId
    line: Digest


@dataclass(frozen=True, kw_only=True)
class RegisterWritten:
    """The coordinator's: the register of sites has another line about `site`, with this digest."""

    site: SiteName
    line: Digest


@dataclass(frozen=True, kw_only=True)
class SiteHeadSeen:
    """The coordinator's: the head of a site's log, as the site signed it in an answer."""

    site: SiteName
    head: LogHead


@dataclass(frozen=True, kw_only=True)
class LogForked:
    """A site signed two heads of one size: somebody wrote its log anew."""

    site: SiteName
    before: LogHead
    now: LogHead


@dataclass(frozen=True, kw_only=True)
class RequestsRefused:
    """The coordinator's door, or a site's line, turned away so many since it was last told."""

    code: RefusedCode
    count: int


@dataclass(frozen=True, kw_only=True)
class SiteOpened:
    """A site's: its daemon came up with this data set, policy and code."""

    dataset: Digest
    policy: Digest
    code: Digest


@dataclass(frozen=True, kw_only=True)
class PlanAccepted:
    """A site's: a plan is the coordinator's and in order; `coordinator` is the log head that came with it."""

    run: RunId
    round: int
    phase: Phase
    plan: Digest
    parameters: Digest
    coordinator: LogHead


@dataclass(frozen=True, kw_only=True)
class PlanAnswered:
    """A site's: an answer to a plan is on disk; `body` is its digest, `ledger` the ledger's head."""

    run: RunId
    round: int
    phase: Phase
    plan: Digest
    body: Digest
    ledger: Digest


@dataclass(frozen=True, kw_only=True)
class PlanRefused:
    """A site's: what was asked isn't allowed here, out of order, or can't be done."""

    run: RunId
    round: int
    phase: Phase
    plan: Digest
    code: RefusalCode


@dataclass(frozen=True, kw_only=True)
class CosignatureGiven:
    """A site's: it co-signed the model of a finished run, whose statement has this digest."""

    statement: Digest


@dataclass(frozen=True, kw_only=True)
class CosignatureRefused:
    """A site's: it didn't."""

    statement: Digest


@dataclass(frozen=True, kw_only=True)
class PatientsWithdrew:
    """A site's: so many patients withdrew; `dataset` is the data set without them, `certificate` a digest."""

    patients: int
    dataset: Digest
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class MessageRefused:
    """A site's: what came isn't the coordinator's, is too old, or is no message."""

    code: Literal["untrusted", "expired", "malformed"]


Fact = (
    PlanAsked
    | JournalWritten
    | RegisterWritten
    | SiteHeadSeen
    | LogForked
    | RequestsRefused
    | SiteOpened
    | PlanAccepted
    | PlanAnswered
    | PlanRefused
    | CosignatureGiven
    | CosignatureRefused
    | PatientsWithdrew
    | MessageRefused
)
FACTS: dict[str, type[Fact]] = {
    kind.__name__: kind
    for kind in (
        PlanAsked,
        JournalWritten,
        RegisterWritten,
        SiteHeadSeen,
        LogForked,
        RequestsRefused,
        SiteOpened,
        PlanAccepted,
        PlanAnswered,
        PlanRefused,
        CosignatureGiven,
        CosignatureRefused,
        PatientsWithdrew,
        MessageRefused,
    )
}
