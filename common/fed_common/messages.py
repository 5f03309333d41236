"""What travels between coordinator and sites: signed statements, each with the digest of the bytes beside it.

Layout of a message: magic, length of the signed statement, signed statement, body. The statement names the
body's digest, so that one signature covers both. Fewer than 16 spaces after the statement, counted with it,
put the body's numbers where they can be read without a copy.
"""

import struct
import time
from dataclasses import dataclass
from typing import Literal, TypeVar

from fed_common import canonical, signed_fact
from fed_common.artefacts.participation import SiteRounds
from fed_common.audit_log.head import LogHead
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.ledger_record import LedgerHead, SignedReset, Unit
from fed_common.masking.terms import Masking
from fed_common.names import Bytes, Digest, RunId, SiteName, body_digest, run_id
from fed_common.plans import Phase, SiteTerms, Terms, TrainTerms
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.tightening import Tightened

MAGIC = b"FED2"
_STEP_MAGIC = b"FES2"
MAX_STATEMENT_BYTES = 1 << 20
_PREFIX = struct.Struct("<4sI")
# Of no number are more bytes read at once; Python's bytes begin at such an address.
_ALIGNMENT = 16

Step = Literal["advertise", "share", "mask", "confirm", "unmask"]

RefusalCode = Literal[
    "not-in-cohort",
    "stale-round",
    "stale-run",
    "round-asked-differently",
    "model-forked",
    "round-charged-without-answer",
    "task-differs",
    "model-not-allowed",
    "model-not-finite",
    "control-variate-lost",
    "noise-below-floor",
    "clip-above-ceiling",
    "sampling-above-ceiling",
    "steps-above-ceiling",
    "images-above-ceiling",
    "statistics-not-allowed",
    "cohort-too-small",
    "ledger-behind-coordinator",
    "budget-exhausted",
    "unmasked-not-allowed",
    "peer-unknown",
    "ring-too-small",
    "round-masked-already",
    "masking-refused",
    "cosignature-refused",
]


@dataclass(frozen=True, kw_only=True)
class WitnessedHead:
    """A site's ledger head as the coordinator last saw it; the plan's signature countersigns it."""

    site: SiteName
    head: LedgerHead


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """What is asked of every site in one phase of one round; asked again, it is the same to the last bit.

    `lineage` are the digests of the run's checkpoints up to the one before this round, from that of round 0:
    they say which model the round goes on from, and that no site has seen another one. `trained` says whose
    updates are in it, where a site's method depends on that.
    """

    version: Literal[1] = 1
    run: RunId
    round: int
    rounds: int
    task: Digest
    model: str
    parameters: Digest
    lineage: tuple[Digest, ...]
    cohort: tuple[SiteTerms, ...]
    terms: Terms
    masking: Masking | None = None
    trained: tuple[SiteRounds, ...] = ()
    witnessed: tuple[WitnessedHead, ...]

    def __post_init__(self) -> None:
        run_id(self.run)  # a site names files after it
        if len(self.lineage) != self.round:
            raise ConfigError(f"round {self.round} follows {self.round} checkpoints, got {len(self.lineage)}")
        if self.masking is None:
            return
        if not isinstance(self.terms, TrainTerms):
            raise ConfigError("only updates are masked: counts are read site by site")
        if self.terms.encoding != "fixed-point":
            raise ConfigError(f"{self.terms.encoding} updates can't be masked: sites' scales don't add up")
        if not {member.site for member in self.masking.members} <= {site.name for site in self.cohort}:
            raise ConfigError("the members of a masked sum must be sites of the cohort")

    @property
    def phase(self) -> Phase:
        """Return what kind of work the terms ask for."""
        return self.terms.phase

    @property
    def num_vectors(self) -> int:
        """Return how many vectors, each as long as the model, come with the plan."""
        return self.terms.num_vectors if isinstance(self.terms, TrainTerms) else 1

    @property
    def digest(self) -> Digest:
        """Identify the plan; an answer names the plan it belongs to."""
        return canonical.digest(self)

    def site(self, name: SiteName) -> SiteTerms | None:
        """Return the terms of one site, or None where it isn't in the cohort."""
        return next((terms for terms in self.cohort if terms.name == name), None)


@dataclass(frozen=True, kw_only=True)
class PlanStatement:
    """The coordinator's signed header of a round; the body beside it is the model's parameters.

    `log` is how far its audit log has come: the plan's own entry is in it.
    """

    plan: RoundPlan
    expires: int
    body: Digest
    log: LogHead


@dataclass(frozen=True, kw_only=True)
class PrivacyStatement:
    """What a site's patients have given away up to now; a bare epsilon is never shown.

    `code` is that of the site (`fed_common.code_version`), by which an audit is known to be about it. All
    counts since `reset`, if the site's privacy officer has begun a new budget.
    """

    unit: Unit
    epsilon: float
    delta: float
    adversary: str = "anyone who sees all this site ever released"
    sampling: str = "Poisson over patients; no amplification by the choice of sites"
    releases: int
    accountant: str
    ledger: LedgerHead
    reset: SignedReset | None = None
    code: Digest


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a site will not answer a plan; the detail holds policy figures, never data."""

    code: RefusalCode
    detail: str


@dataclass(frozen=True, kw_only=True)
class AnswerStatement:
    """A site's signed header; beside it stand an update, noised counts, or nothing with a refusal.

    `tightened` is set where the site worked with stricter terms than the plan's; `log` is how far its audit
    log had come.
    """

    site: SiteName
    run: RunId
    round: int
    phase: Phase
    plan: Digest
    body: Digest
    refusal: Refusal | None
    tightened: Tightened | None = None
    privacy: PrivacyStatement
    log: LogHead


@dataclass(frozen=True, kw_only=True)
class StepStatement:
    """The coordinator's signed header of one step; a `session` is one try with keys of its own."""

    plan: RoundPlan
    session: str
    step: Step
    expires: int
    body: Digest


@dataclass(frozen=True, kw_only=True)
class StepAnswer:
    """A site's signed header; the body beside it is what the step asks for, or nothing with a refusal."""

    site: SiteName
    plan: Digest
    session: str
    step: Step
    body: Digest
    refusal: Refusal | None


Statement = TypeVar("Statement", PlanStatement, AnswerStatement, StepStatement, StepAnswer)

# By its first bytes a site knows which of two statements to expect; what counts is the signature.
_MAGIC: dict[type, bytes] = {
    PlanStatement: MAGIC,
    AnswerStatement: MAGIC,
    StepStatement: _STEP_MAGIC,
    StepAnswer: _STEP_MAGIC,
}


def is_step(message: bytes) -> bool:
    """Tell whether a sealed message says it is one of a masked round's steps."""
    return message.startswith(_STEP_MAGIC)


def seal(statement: Statement, body: Bytes, key: SigningKey) -> bytes:
    """Return the signed message; `statement.body` must be the digest of `body`."""
    return b"".join(sealed_parts(statement, body, key))


def sealed_parts(statement: Statement, body: Bytes, key: SigningKey) -> tuple[bytes, Bytes]:
    """Return the signed message as what comes before the body, and the body, which isn't copied."""
    header = signed_fact.sign(statement, key)
    header += b" " * (-(_PREFIX.size + len(header)) % _ALIGNMENT)
    return _PREFIX.pack(_MAGIC[type(statement)], len(header)) + header, body


def unseal(message: bytes, kind: type[Statement], key: VerifyingKey) -> tuple[Statement, Bytes]:
    """Return statement and body, checked in this order: lengths, signature, form, digest.

    The body is a view of the message, which can't be written to.

    Raises:
        MalformedMessageError: it is no message of ours, or its body was exchanged.
        TrustError: it is not signed by `key`.
    """
    if len(message) < _PREFIX.size:
        raise MalformedMessageError("message is too short")
    magic, length = _PREFIX.unpack_from(message)
    if magic != _MAGIC[kind]:
        raise MalformedMessageError("message has another format or version")
    start = _PREFIX.size
    if length > MAX_STATEMENT_BYTES or len(message) < start + length:
        raise MalformedMessageError("message is cut short")
    header = header_of(message)
    if not length - len(header) < _ALIGNMENT:
        raise MalformedMessageError("message has more after its statement than belongs there")
    statement = signed_fact.verify(header, kind, key)
    body = memoryview(message)[start + length :]
    if body_digest(body) != statement.body:
        raise MalformedMessageError("message's body is not the one that was signed")
    return statement, body


def header_of(message: bytes) -> bytes:
    """Return the signed statement alone, of a message as long as it says."""
    _, length = _PREFIX.unpack_from(message)
    return message[_PREFIX.size : _PREFIX.size + length].rstrip(b" ")


def refuse_expired(statement: PlanStatement | StepStatement, *, now: float | None = None) -> None:
    """Return only if the plan may still be answered.

    Raises:
        TrustError: it is too old, or this machine's clock is wrong.
    """
    late_s = (time.time() if now is None else now) - statement.expires
    if late_s > 0:
        raise TrustError(f"the plan expired {late_s:.0f} s ago: replayed, or a clock is wrong")
