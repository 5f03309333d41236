"""The run's diary: one line per event, on disk before anybody is told.

The terminal, `--json` and the report all show these events and nothing else, so that what a person sees
is what was written down.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fed_common import canonical
from fed_common.adversaries import Claim
from fed_common.audit import Release
from fed_common.errors import MalformedMessageError
from fed_common.files import append_durably
from fed_common.messages import PrivacyStatement
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.noised_figures import NoisedFigures
from fed_common.plans import Normalisation, Phase, TrainTerms
from fed_common.scoring import TestFigures
from fed_common.task import Task
from fed_common.tightening import Tightened
from fed_common.vote import Rollback


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A new run with all that decides what it computes.

    `alone` is the claim against the coordinator alone, where masks allow one (`fed_common.adversaries`);
    `personal` is the method by which each site has a model of its own, if any.
    """

    run: RunId
    name: str
    settings: Digest
    task: Task
    model: str
    sites: tuple[SiteName, ...]
    rounds: int
    quorum: int
    terms: TrainTerms
    epsilon: float
    delta: float
    masked: bool = False
    alone: Claim | None = None
    algorithm: str = "fedavg"
    personal: str = ""


@dataclass(frozen=True, kw_only=True)
class RunResumed:
    """The coordinator came back; `round` is the last one that was published."""

    round: int


@dataclass(frozen=True, kw_only=True)
class WaitingForSites:
    """Too few sites are connected to ask a round."""

    round: int
    online: tuple[SiteName, ...]
    quorum: int


@dataclass(frozen=True, kw_only=True)
class PhaseAsked:
    """The cohort was asked to train, to evaluate, or for statistics before the first round."""

    round: int
    phase: Phase
    attempt: int


@dataclass(frozen=True, kw_only=True)
class SiteAnswered:
    """A site's contribution was folded; `tightened` is set where it was made with stricter terms."""

    round: int
    phase: Phase
    site: SiteName
    tightened: Tightened | None = None
    privacy: PrivacyStatement


@dataclass(frozen=True, kw_only=True)
class SiteFailed:
    """A site added nothing, and why."""

    round: int
    phase: Phase
    site: SiteName
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class SumAbandoned:
    """Masked updates were out when their round broke: the model stands, and what was charged stays."""

    round: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class SiteStatistics:
    """Noised patients of each class and shares of each grey, None where they are few; `site` as in figures.

    The margins are those of 95 % by the noise alone.
    """

    site: SiteName | None
    classes: tuple[int | None, ...]
    class_margin: int
    greys: tuple[float | None, ...]
    grey_margin: float | None


@dataclass(frozen=True, kw_only=True)
class StatisticsGathered:
    """The run's public constants are fixed; `not_measured` says why some or all are the usual ones."""

    sites: tuple[SiteStatistics, ...]
    normalisation: Normalisation
    class_weights: tuple[float, ...]
    not_measured: str


@dataclass(frozen=True, kw_only=True)
class SiteFigures:
    """Figures from noised counts; `site` is None for all together."""

    site: SiteName | None
    figures: NoisedFigures


@dataclass(frozen=True, kw_only=True)
class CandidateDropped:
    """The sites found a candidate worse than the model of round `rollback.to`, which is published again.

    `federated` are the figures of the candidate.
    """

    round: int
    rollback: Rollback
    federated: tuple[SiteFigures, ...]

    @property
    def reason(self) -> str:
        """Say why, for people."""
        return f"at {', '.join(self.rollback.worse)} its AUC was lower than after round {self.rollback.to}"


@dataclass(frozen=True, kw_only=True)
class RoundPublished:
    """A signed checkpoint is on disk; `seconds` is how long the round took."""

    round: int
    seconds: float
    sites: tuple[SiteName, ...]
    test: TestFigures | None
    federated: tuple[SiteFigures, ...]
    checkpoint: Digest


@dataclass(frozen=True, kw_only=True)
class Unsigned:
    """A site that did not co-sign the finished model, and why."""

    site: SiteName
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ModelCosigned:
    """The sites were asked to sign the finished model, whose manifest has this digest."""

    round: int
    manifest: Digest
    sites: tuple[SiteName, ...]
    unsigned: tuple[Unsigned, ...]


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """All rounds are published."""

    rounds: int


@dataclass(frozen=True, kw_only=True)
class ModelReleased:
    """The run's model was published as release `number`, to be used until `expires`, on the ground given."""

    number: int
    expires: int
    release: Release


RunEvent = (
    RunStarted
    | RunResumed
    | WaitingForSites
    | PhaseAsked
    | SiteAnswered
    | SiteFailed
    | SumAbandoned
    | StatisticsGathered
    | CandidateDropped
    | RoundPublished
    | ModelCosigned
    | RunFinished
    | ModelReleased
)
_KINDS: dict[str, type[RunEvent]] = {
    kind.__name__: kind
    for kind in (
        RunStarted,
        RunResumed,
        WaitingForSites,
        PhaseAsked,
        SiteAnswered,
        SiteFailed,
        SumAbandoned,
        StatisticsGathered,
        CandidateDropped,
        RoundPublished,
        ModelCosigned,
        RunFinished,
        ModelReleased,
    )
}
_LINE = re.compile(rb'\{"at":(?P<at>[0-9]{1,19}),"event":"(?P<event>[A-Za-z]+)","fact":(?P<fact>.*)\}')
Observer = Callable[[RunEvent], None]


@dataclass(frozen=True, kw_only=True)
class TimedEvent:
    """An event and when it was written down, in seconds since 1970."""

    at: int
    event: RunEvent


def encode_event(event: RunEvent) -> bytes:
    """Return the event as one line: `{"at":seconds,"event":"RoundPublished","fact":{...}}`."""
    return b'{"at":%d,"event":"%s","fact":%s}\n' % (
        time.time(),
        type(event).__name__.encode(),
        canonical.encode(event),
    )


@dataclass(frozen=True)
class Journal:
    """The diary of one run."""

    path: Path

    def write(self, event: RunEvent) -> Digest:
        """Put the event on disk, and return the digest of its line.

        Raises:
            MachineError: the disk refuses it.
        """
        line = encode_event(event)
        append_durably(self.path, line)
        return digest_of(line)

    def digests(self) -> tuple[Digest, ...]:
        """Return the digests of the lines written so far."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        return tuple(digest_of(line) for line in lines if line.endswith(b"\n"))

    def mend(self) -> None:
        """Cut off a last line that a crash left unfinished, so that the next one starts clean."""
        if self.path.exists():
            raw = self.path.read_bytes()
            os.truncate(self.path, raw.rfind(b"\n") + 1)

    def read(self) -> tuple[RunEvent, ...]:
        """Return the events written so far; a last line torn by a crash is left out.

        Raises:
            MalformedMessageError: a line in the middle is damaged.
        """
        return tuple(told.event for told in self.timed())

    def timed(self) -> tuple[TimedEvent, ...]:
        """Return the events with their times; see `read`."""
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else [b""]
        return tuple(_decode(line) for line in lines[:-1])


def _decode(line: bytes) -> TimedEvent:
    form = _LINE.fullmatch(line)
    if form is None or (kind := _KINDS.get(form["event"].decode())) is None:
        raise MalformedMessageError("the journal has a damaged line")
    return TimedEvent(at=int(form["at"]), event=canonical.decode(form["fact"], kind))
