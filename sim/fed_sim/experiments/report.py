"""The page that researchers and a consortium read before any hospital is asked, and the figures for machines.

It is made of the store alone, and is one file that reaches out to nothing: no script, no font, no image.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fed_common.errors import ConfigError
from fed_common.files import write_atomically
from fed_common.metrics import Estimate
from fed_server.charts import Bar, Role, draw_comparison
from fed_server.report import page_style
from fed_sim.experiments.cell import PUBLIC, Arm, Measured, epsilon_in_words
from fed_sim.experiments.figures import Evidence, Row, Way, as_json
from fed_sim.experiments.running import STORE_FILE
from fed_sim.experiments.store import Store
from fed_sim.experiments.verdicts import in_words, verdicts
from fed_sim.hospitals import FederationSummary, load_summary
from fed_sim.partition import ByPatient
from fed_sim.partition.picture import draw_partition

REPORT_FILE = "report.html"
FIGURES_FILE = "results.json"

_ROLE: dict[Arm, Role] = {"local": "local", "federated": "federated", "pooled": "pooled"}


def write_comparison(folder: Path) -> Path:
    """Write report and figures of what was trained so far, and return the report's path.

    Raises:
        ConfigError: nothing was trained.
        MachineError: the disk refuses.
    """
    if not (folder / STORE_FILE).exists():
        raise ConfigError(f"{folder}: no results here; `fed-sim compare` or `fed-sim sweep` makes some")
    with Store.opened(folder / STORE_FILE) as store:
        cells = list(store)
    names = dict.fromkeys(one.cell.study for one in cells)
    studies = [_Study.of(name, [one for one in cells if one.cell.study == name], folder) for name in names]
    write_atomically(folder / REPORT_FILE, _page(studies).encode())
    figures = [as_json(row) for study in studies for row in study.evidence.rows()]
    write_atomically(folder / FIGURES_FILE, (json.dumps(figures, indent=0) + "\n").encode())
    return folder / REPORT_FILE


def _page(studies: "Sequence[_Study]") -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure_with_interval
    template = resources.files("fed_sim.experiments").joinpath("comparison.html.jinja")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=page_style(), studies=studies, single=any(study.seeds == 1 for study in studies)
    )


def figure_with_interval(estimate: Estimate | None) -> str:
    """Return the figure as tables show it."""
    if estimate is None:
        return "one class only"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Study:
    """One study's part of the page."""

    name: str
    evidence: Evidence
    summary: FederationSummary

    @classmethod
    def of(cls, name: str, cells: Sequence[Measured], folder: Path) -> "_Study":
        first = min(one.cell.seed for one in cells)
        summary = load_summary(folder / name / f"seed-{first}")
        return cls(name=name, evidence=Evidence(cells), summary=summary)

    @property
    def about(self) -> str:
        """Return who the patients are and how they were dealt out."""
        made, sites = self.summary.made, self.summary.sites
        dealt = {key.removeprefix("partition_"): made[key] for key in made if key.startswith("partition_")}
        how = _words(str(dealt.pop("kind", ByPatient.__name__)))
        numbers = "".join(f", {key} {value}" for key, value in dealt.items())
        sizes = ", ".join(str(site.num_patients) for site in sites)
        return (
            f"{made['source']}, dealt out {how}{numbers}: {len(sites)} hospitals of {sizes} patients, "
            f"a public test of {self._tested}."
        )

    @property
    def _tested(self) -> int:
        """Return how many patients the public test has, without those that nobody can use."""
        public = self.evidence.cells[0].at(PUBLIC)
        return len(public.positive_M) if public else 0

    @property
    def partition(self) -> Markup:
        """Return the picture of who is where; ours, and so safe to stand in the page."""
        return Markup(draw_partition(self.summary))

    @property
    def budgets(self) -> list[str]:
        return [epsilon_in_words(epsilon) for epsilon in self.evidence.epsilons]

    @property
    def hospitals(self) -> tuple[str, ...]:
        return self.evidence.hospitals

    @property
    def charts(self) -> Iterator[tuple[str, Markup]]:
        """Yield a drawing for each budget, the best way of the federation first."""
        for epsilon in self.evidence.epsilons:
            rows = [self.evidence.row(way, epsilon, PUBLIC) for way in self.evidence.ways]
            bars = [
                Bar(name=str(row.way), figure=row.auc, role=_ROLE[row.way.arm])
                for row in rows
                if row is not None and row.auc is not None
            ]
            if bars:
                bars.sort(key=lambda bar: (bar.role != "federated", -bar.figure.value))
                yield epsilon_in_words(epsilon), Markup(draw_comparison(bars))

    @property
    def public(self) -> Iterator[tuple[Way, list[Row | None]]]:
        for way in self.evidence.ways:
            yield way, [self.evidence.row(way, epsilon, PUBLIC) for epsilon in self.evidence.epsilons]

    @property
    def sites(self) -> Iterator[tuple[str, list[tuple[Way, list[str]]]]]:
        """Yield for each budget what every way amounts to at each hospital: AUC, or else accuracy."""
        for epsilon in self.evidence.epsilons:
            yield (
                epsilon_in_words(epsilon),
                [
                    (way, [_at_site(self.evidence.row(way, epsilon, where)) for where in self.hospitals])
                    for way in self.evidence.ways
                ],
            )

    @property
    def sentences(self) -> list[str]:
        """Return a sentence for every hospital and budget that a kind of learning together doesn't help."""
        ways = self.evidence.ways
        return [
            in_words(
                verdict,
                choices=sum((way.arm, way.personal) == ("federated", verdict.best.personal) for way in ways),
            )
            for verdict in verdicts(self.evidence)
            if not verdict.helps
        ]

    @property
    def models(self) -> int:
        return len(self.evidence.cells)

    @property
    def seeds(self) -> int:
        return len({one.cell.seed for one in self.evidence.cells})

    @property
    def hours(self) -> str:
        return f"{sum(one.seconds for one in self.evidence.cells) / 3600:.2f}"

    @property
    def code(self) -> str:
        return _listed(one.commit for one in self.evidence.cells)


def _at_site(row: Row | None) -> str:
    if row is None:
        return ""
    if row.auc is None:
        return f"accuracy {figure_with_interval(row.accuracy)}"
    return figure_with_interval(row.auc)


def _words(name: str) -> str:
    """Return the name of a partition's class in words: "by patient", "label skewed"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
