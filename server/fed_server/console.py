"""What the coordinator sees while a run goes on: a line per event that matters, and on a terminal a live bar.

In a pipe or a log file the same lines come without colours, bars or control characters.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from fed_common.errors import MachineError
from fed_common.ledger_record import weakest
from fed_common.messages import PrivacyStatement
from fed_common.metrics import Estimate
from fed_common.names import SiteName
from fed_server.journal import (
    CandidateDropped,
    ModelCosigned,
    ModelReleased,
    PhaseAsked,
    RoundPublished,
    RunEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    SiteAnswered,
    SiteFailed,
    StatisticsGathered,
    SumAbandoned,
    WaitingForSites,
    encode_event,
)

_LONGEST_LINE = 400


class JsonObserver:
    """Prints every event as the journal has it, one JSON line each, for machines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __enter__(self) -> Self:
        """Return the observer; there is nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the stream open; it belongs to the process."""

    def __call__(self, event: RunEvent) -> None:
        """Print one line, at once.

        Raises:
            MachineError: whoever read the lines is gone.
        """
        try:
            self._stream.write(encode_event(event).decode("ascii"))
            self._stream.flush()
        except OSError as error:
            raise MachineError(f"events can't be printed ({error.strerror})") from error


class ConsoleObserver:
    """Prints a run for people; enter it, so that the bar is taken off the terminal at the end."""

    def __init__(self, console: Console | None = None, *, past: Sequence[RunEvent] = ()) -> None:
        """Begin with the `past` of a run that is resumed, without printing it again."""
        self._console = console or Console()
        self._run = _RunSoFar()
        for event in past:
            self._run.remember(event)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24, complete_style="blue", finished_style="blue"),
            TextColumn("{task.fields[left]}", style="dim"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task("waiting for sites", total=None, left="")

    def __enter__(self) -> Self:
        """Show the bar, where there is a terminal."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away; the lines stay."""
        self._progress.stop()

    def __call__(self, event: RunEvent) -> None:
        """Show one event."""
        for line in self._run.new_resets(event):
            self._print(line, style="yellow")
        self._run.remember(event)
        match event:
            case RunStarted():
                self._print(_header(event), style="bold")
            case RunResumed():
                if self._run.started:
                    self._print(_header(self._run.started), style="bold")
                self._print(f"resumed after round {event.round}")
            case WaitingForSites():
                online = ", ".join(event.online) or "none"
                self._print(f"round {event.round}: {event.quorum} sites are needed, connected: {online}")
            case PhaseAsked(attempt=attempt) if attempt > 1:
                self._print(f"round {event.round} {event.phase}: asked again, attempt {attempt}")
            case SiteFailed() | SumAbandoned() | CandidateDropped():
                self._print(_trouble(event), style="yellow")
            case SiteAnswered() if event.tightened:
                codes = ", ".join(event.tightened.codes)
                self._print(f"round {event.round} {event.phase}: {event.site} tightened the terms: {codes}")
            case StatisticsGathered():
                self._print("  ".join(_statistics(event)))
            case RoundPublished():
                self._print("  ".join(self._run.parts_of(event)))
            case ModelCosigned() | RunFinished():
                self._print(_ending(event), style="bold")
            case _:
                pass  # shown by the bar alone
        self._progress.update(
            self._bar,
            description=_printable(self._run.doing),
            total=self._run.started.rounds if self._run.started else None,
            completed=self._run.done,
            left=self._run.time_left,
        )

    def _print(self, line: str, *, style: str = "") -> None:
        self._console.print(Text(_printable(line), style=style), soft_wrap=True)


@dataclass(kw_only=True)
class _RunSoFar:
    """What has to be remembered of earlier events to show the next one."""

    started: RunStarted | None = None
    done: int = 0
    doing: str = "waiting for sites"
    seconds: list[float] = field(default_factory=list)
    answered: list[SiteName] = field(default_factory=list)
    privacy: dict[SiteName, PrivacyStatement] = field(default_factory=dict)

    def new_resets(self, event: RunEvent) -> Iterator[str]:
        """Yield what to say of a reset that no earlier event has told of."""
        if not isinstance(event, SiteAnswered) or (signed := event.privacy.reset) is None:
            return
        known = self.privacy.get(event.site)
        if known is None or known.reset != signed:
            reset = signed.reset
            yield f"{event.site}: its privacy officer began a new budget, signed: {reset.reason}"

    @property
    def time_left(self) -> str:
        left = self.started.rounds - self.done if self.started and self.seconds else 0
        return f"about {_duration(fmean(self.seconds) * left)} left" if left > 0 else ""

    def remember(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.started = event
            case RunResumed():
                self.done = event.round
            case WaitingForSites():
                self.doing = f"round {event.round}: waiting for sites"
            case PhaseAsked():
                self.answered.clear()
                self.doing = f"round {event.round} {event.phase}: no answer yet"
            case SiteAnswered():
                self.answered.append(event.site)
                self.privacy[event.site] = event.privacy
                self.doing = f"round {event.round} {event.phase}: {', '.join(self.answered)} answered"
            case RoundPublished():
                self.done = event.round
                self.seconds.append(event.seconds)
            case SiteFailed() | StatisticsGathered() | CandidateDropped():
                pass
            case ModelCosigned() | RunFinished() | ModelReleased():
                pass

    def parts_of(self, event: RoundPublished) -> Iterator[str]:
        """Yield what the line of a published round says."""
        rounds, sites = (self.started.rounds, len(self.started.sites)) if self.started else ("?", "?")
        yield f"round {event.round}/{rounds}"
        yield f"{event.seconds:.1f} s"
        yield f"{len(event.sites)}/{sites} sites"
        if event.test:
            yield f"test AUC {_estimate(event.test.auc)}"
            yield f"accuracy {event.test.accuracy:.3f}"
            yield f"loss {event.test.loss:.3f}"
        for row in event.federated:
            if row.site is None:
                auc = row.figures.auc
                yield f"at the sites AUC {_estimate(auc) if auc else 'hidden by noise'}"
        if self.privacy:
            worst = max(self.privacy.values(), key=lambda stated: stated.epsilon)
            unit = weakest(stated.unit for stated in self.privacy.values())
            yield f"epsilon up to {worst.epsilon:.2f} at delta {worst.delta:g} per {unit}"
        if self.time_left:
            yield self.time_left


def _trouble(event: SiteFailed | SumAbandoned | CandidateDropped) -> str:
    if isinstance(event, SumAbandoned):
        return f"round {event.round}: abandoned, {event.reason}"
    if isinstance(event, CandidateDropped):
        return f"round {event.round}: rolled back to round {event.rollback.to}, {event.reason}"
    reason = f"{event.code}: {event.detail}" if event.detail else event.code
    return f"round {event.round} {event.phase}: {event.site} {reason}"


def _ending(event: ModelCosigned | RunFinished) -> str:
    if isinstance(event, RunFinished):
        return f"finished: {event.rounds} rounds published"
    line = f"co-signed by {', '.join(event.sites) or 'nobody'}"
    unsigned = ", ".join(f"{site.site} ({site.code} {site.detail}".rstrip() + ")" for site in event.unsigned)
    return f"{line}; not by {unsigned}" if unsigned else line


def _header(event: RunStarted) -> str:
    return (
        f"{event.run}  {event.task.name}  {len(event.sites)} sites  {event.rounds} rounds  "
        f"noise {event.terms.dp.noise_multiplier:.3f}  "
        f"epsilon at most {event.epsilon:g} at delta {event.delta:g} per patient"
        f"{'  masked sums' if event.masked else ''}"
        f"{f'  {event.algorithm}' if event.algorithm != 'fedavg' else ''}"
        f"{f'  personal by {event.personal}' if event.personal else ''}"
    )


def _statistics(event: StatisticsGathered) -> Iterator[str]:
    yield f"statistics of {max(len(event.sites) - 1, 0)} sites"
    yield f"mean grey {event.normalisation.mean:g}, spread {event.normalisation.spread:g}"
    yield f"class weights {', '.join(f'{weight:.2f}' for weight in event.class_weights) or 'all 1'}"
    if event.not_measured:
        yield f"not measured: {event.not_measured}"


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _printable(line: str) -> str:
    """Return the line without what could move a cursor or forge another line: details come from sites."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_LONGEST_LINE]
