"""The page that the coordinator and then a privacy officer read: how good the model is and what it cost.

It is made of the journal alone, and is one file that reaches out to nothing: no script, no font, no image.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fed_common.audit import Release
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE
from fed_common.files import write_atomically
from fed_common.messages import PrivacyStatement
from fed_common.metrics import Estimate
from fed_common.names import SiteName
from fed_common.noised_figures import AT_SENSITIVITY, AT_SPECIFICITY, NoisedFigures
from fed_common.reference import Reference, References
from fed_common.scoring import TestFigures
from fed_server.charts import Bar, Role, draw_comparison, draw_curve, draw_greys, draw_reliability, exactly
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
)


def write_report(path: Path, events: Sequence[RunEvent], references: References | None) -> None:
    """Write the page to `path`.

    Raises:
        MachineError: the disk refuses it.
    """
    write_atomically(path, render_report(events, references).encode())


def render_report(events: Sequence[RunEvent], references: References | None) -> str:
    """Return the page about a run that finished, was interrupted, or never began; same events, same bytes."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(figure=_figure, interval=_interval, signed=_signed, day=_day)
    template = resources.files("fed_server").joinpath("report.html.jinja").read_text(encoding="utf-8")
    started = [event for event in events if isinstance(event, RunStarted)]
    story = _Story(started=started[-1], events=events) if started else None
    comparison = _Comparison(story.last_test, references) if story else None
    return environment.from_string(template).render(
        style=page_style(),
        run=story,
        comparison=comparison,
        charts=_charts(story, comparison) if story and comparison else {},
        greys=_greys(story.statistics) if story else {},
        model_file=MODEL_FILE,
        manifest_file=MANIFEST_FILE,
        at_specificity=AT_SPECIFICITY,
        at_sensitivity=AT_SENSITIVITY,
    )


def page_style() -> Markup:
    """Return how a page looks; the inks of its drawings are named there."""
    return Markup(resources.files("fed_server").joinpath("page.css").read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class _RoundRow:
    """What became of one round; `published` is None where nothing was, or a crash swallowed its line."""

    number: int
    state: str
    attempts: int
    published: RoundPublished | None
    set_back: str
    answered: tuple[SiteName, ...]
    failures: Mapping[SiteFailed, int]


@dataclass(frozen=True)
class _Story:
    """The events of one run, put in the order of the page."""

    started: RunStarted
    events: Sequence[RunEvent]

    @property
    def finished(self) -> bool:
        return any(isinstance(event, RunFinished) for event in self.events)

    @cached_property
    def resumed(self) -> list[int]:
        return [event.round for event in self.events if isinstance(event, RunResumed)]

    @cached_property
    def published(self) -> dict[int, RoundPublished]:
        return {event.round: event for event in self.events if isinstance(event, RoundPublished)}

    @property
    def last_round(self) -> int:
        """Return the last published round; a crash may have swallowed its line, but not the checkpoint."""
        return max([0, *self.published, *self.resumed])

    @property
    def last_test(self) -> TestFigures | None:
        return self.published[max(self.published)].test if self.published else None

    @property
    def last_measured(self) -> RoundPublished | None:
        """Return the last round that the sites measured."""
        return next((self.published[n] for n in sorted(self.published, reverse=True) if self.pooled(n)), None)

    def pooled(self, number: int) -> NoisedFigures | None:
        """Return the figures of all sites together after one round."""
        return next((row.figures for row in self.published[number].federated if row.site is None), None)

    @property
    def privacy(self) -> dict[SiteName, PrivacyStatement]:
        """Return what each site stated with its last answer."""
        return {event.site: event.privacy for event in self.events if isinstance(event, SiteAnswered)}

    @property
    def release(self) -> Release | None:
        """Return why the model was published, None where it wasn't yet."""
        released = [event.release for event in self.events if isinstance(event, ModelReleased)]
        return released[-1] if released else None

    @property
    def cosigned(self) -> ModelCosigned | None:
        """Return who signed the finished model, after the last time that sites were asked to."""
        told = [event for event in self.events if isinstance(event, ModelCosigned)]
        return told[-1] if told else None

    @property
    def tightened(self) -> dict[SiteName, list[str]]:
        """Return which limits made a site work with stricter terms than asked, at any time of the run."""
        codes: dict[SiteName, set[str]] = {}
        for event in self.events:
            if isinstance(event, SiteAnswered) and event.tightened:
                codes.setdefault(event.site, set()).update(event.tightened.codes)
        return {site: sorted(codes[site]) for site in sorted(codes)}

    @cached_property
    def statistics(self) -> StatisticsGathered | None:
        """Return what was measured before the first round; after a crash it may be told twice."""
        told = [event for event in self.events if isinstance(event, StatisticsGathered)]
        return told[-1] if told else None

    @property
    def without_statistics(self) -> list[SiteFailed]:
        """Return the sites that released none, once each, with the last reason."""
        failed = {e.site: e for e in self.events if isinstance(e, SiteFailed) and e.phase == "statistics"}
        counted = {row.site for row in self.statistics.sites} if self.statistics else set()
        return [failed[site] for site in sorted(failed) if site not in counted]

    @property
    def rounds(self) -> list[_RoundRow]:
        begun = (PhaseAsked, WaitingForSites, RoundPublished)
        numbers = {event.round for event in self.events if isinstance(event, begun)} - {0}
        return [self._round(number) for number in sorted(numbers)]

    def _round(self, number: int) -> _RoundRow:
        published = self.published.get(number)
        asked = [e.attempt for e in self.events if isinstance(e, PhaseAsked) and e.round == number]
        trained = {
            e.site
            for e in self.events
            if isinstance(e, SiteAnswered) and (e.round, e.phase) == (number, "train")
        }
        set_back = [
            _set_back(e)
            for e in self.events
            if isinstance(e, SumAbandoned | CandidateDropped) and e.round == number
        ]
        return _RoundRow(
            number=number,
            set_back=" ".join(dict.fromkeys(set_back)),
            state="published" if number <= self.last_round else "not published",
            attempts=max(asked, default=0),
            published=published,
            answered=published.sites if published else tuple(sorted(trained)),
            failures=Counter(e for e in self.events if isinstance(e, SiteFailed) and e.round == number),
        )


def _set_back(event: SumAbandoned | CandidateDropped) -> str:
    if isinstance(event, CandidateDropped):
        return (
            f"The model of round {event.rollback.to} stands again instead of the candidate: {event.reason}."
        )
    return f"The model stayed as it was: {event.reason}"


@dataclass(frozen=True)
class _Comparison:
    """The last model beside those trained without the federation, all on the same public images."""

    federated: TestFigures | None
    references: References | None

    @property
    def pooled(self) -> tuple[Reference, ...]:
        return self.references.of_kind("pooled") if self.references else ()

    @property
    def local(self) -> tuple[Reference, ...]:
        return self.references.of_kind("local") if self.references else ()

    @property
    def levels(self) -> dict[str, dict[Role, float]]:
        """Return for each figure the means of the two kinds of reference."""
        kinds: dict[Role, tuple[Reference, ...]] = {"pooled": self.pooled, "local": self.local}
        present = {role: [model.figures for model in models] for role, models in kinds.items() if models}
        return {
            "auc": {role: fmean(figures.auc.value for figures in kind) for role, kind in present.items()},
            "accuracy": {role: fmean(figures.accuracy for figures in kind) for role, kind in present.items()},
            "loss": {role: fmean(figures.loss for figures in kind) for role, kind in present.items()},
        }

    def bars(self, federated: TestFigures) -> list[Bar]:
        models = [*self.pooled, *self.local]
        bars = [Bar(name="federated, private", figure=federated.auc, role="federated")]
        bars += [Bar(name=model.label, figure=model.figures.auc, role=model.kind) for model in models]
        if self.local:
            mean = exactly(self.levels["auc"]["local"])
            bars.insert(1 + len(self.pooled), Bar(name="local-only, mean", figure=mean, role="local"))
        return bars


def _charts(story: _Story, comparison: _Comparison) -> dict[str, str]:
    """Return the drawings that these events allow; a curve needs two rounds."""
    tests = {n: event.test for n, event in story.published.items() if event.test}
    curves = {
        "auc": {n: test.auc for n, test in tests.items()},
        "accuracy": {n: exactly(test.accuracy) for n, test in tests.items()},
        "loss": {n: exactly(test.loss) for n, test in tests.items()},
        "at_sites": {n: pooled.auc for n in story.published if (pooled := story.pooled(n)) and pooled.auc},
    }
    levels = comparison.levels
    charts: dict[str, str] = {
        name: draw_curve(points, levels.get(name, {})) for name, points in curves.items() if len(points) > 1
    }
    measured = story.last_measured
    if measured and (pooled := story.pooled(measured.round)) and pooled.reliability:
        charts["reliability"] = draw_reliability(pooled.reliability)
    if comparison.federated:
        charts["comparison"] = draw_comparison(comparison.bars(comparison.federated))
    return charts


def _greys(statistics: StatisticsGathered | None) -> dict[SiteName, str]:
    """Return each site's greys, drawn over those of all sites together, which come first."""
    if statistics is None or not statistics.sites:
        return {}
    together, *sites = statistics.sites
    return {
        row.site: draw_greys(row.greys, row.grey_margin, together.greys)
        for row in sites
        if row.site is not None and row.grey_margin is not None
    }


def _figure(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _interval(estimate: Estimate) -> str:
    joint = " to " if estimate.low < 0 else "\N{EN DASH}"  # a dash beside a minus sign can't be read
    return f"{estimate.low:.3f}{joint}{estimate.high:.3f}".replace("-", "\N{MINUS SIGN}")


def _signed(difference: float) -> str:
    return f"{difference:+.3f}".replace("-", "\N{MINUS SIGN}")
