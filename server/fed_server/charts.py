"""The report's drawings: inline SVG that takes its colours from the page, the same bytes for the same run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fed_common.metrics import Estimate
from fed_common.noised_figures import Reliability

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Role = Literal["federated", "pooled", "local"]

# Okabe and Ito's blue and vermilion stay apart for colour-blind readers; line styles differ as well.
INKS: dict[str, str] = {
    "federated": "#0072b2",
    "pooled": "#d55e00",
    "local": "#6b7280",
    "text": "#4b5563",
    "rule": "#d1d5db",
}
_DASHES: dict[Role, str] = {"federated": "-", "pooled": "--", "local": ":"}
STYLE: "dict[RcKeyType, object]" = {
    "axes.axisbelow": True,
    "axes.edgecolor": INKS["rule"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INKS["text"],
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.color": INKS["rule"],
    "grid.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "fed-hospitals",
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "xtick.color": INKS["rule"],
    "xtick.labelcolor": INKS["text"],
    "ytick.labelcolor": INKS["text"],
    "ytick.left": False,
}
_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model in a comparison: its name, its figure, and in whose colour it is drawn."""

    name: str
    figure: Estimate
    role: Role


def exactly(value: float) -> Estimate:
    """Return a figure whose interval has no width, and so isn't drawn."""
    return Estimate(value=value, low=value, high=value)


def draw_curve(points: Mapping[int, Estimate], levels: Mapping[Role, float]) -> str:
    """Return a figure's course over the rounds with its interval, and the references as level lines."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.3, 2.2))
        axes = figure.add_subplot()
        rounds = sorted(points)
        ink = INKS["federated"]
        axes.fill_between(
            rounds,
            [points[number].low for number in rounds],
            [points[number].high for number in rounds],
            color=ink,
            alpha=0.16,
            linewidth=0,
        )
        axes.plot(rounds, [points[number].value for number in rounds], color=ink, marker="o", markersize=2.5)
        for role, level in levels.items():
            axes.axhline(level, color=INKS[role], linestyle=_DASHES[role], linewidth=1.3)
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        return to_svg(figure)


def draw_comparison(bars: Sequence[Bar]) -> str:
    """Return the models one below the other, each with its interval; the first one's figure is ruled down."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 0.7 + 0.27 * len(bars)))
        axes = figure.add_subplot()
        axes.axvline(bars[0].figure.value, color=INKS[bars[0].role], linewidth=0.7, alpha=0.6)
        for row, bar in enumerate(bars):
            _draw_bar(axes, row, bar)
        axes.set_yticks(range(len(bars)), [_shortened(bar.name) for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.grid(visible=False)
        return to_svg(figure)


def draw_reliability(groups: Sequence[Reliability]) -> str:
    """Return how many of the patients with like scores are positive; on the diagonal, as many as they say."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.3, 2.2))
        axes = figure.add_subplot()
        ink = INKS["federated"]
        axes.plot([0, 1], [0, 1], color=INKS["text"], linestyle=":", linewidth=1.3)
        for group in groups:
            share = group.positive
            axes.plot([group.score] * 2, [share.low, share.high], color=ink, linewidth=2.2)
            axes.plot([group.score], [share.value], color=ink, marker="o", markersize=5.5)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("mean score of a fifth of the scale")
        return to_svg(figure)


def draw_greys(own: Sequence[float | None], margin: float, together: Sequence[float | None]) -> str:
    """Return a site's shares of grey from black to white with the noise's margin, over those of all sites."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.3, 1.9))
        axes = figure.add_subplot()
        ink = INKS["federated"]
        own_B = np.array(own, dtype=np.float64)  # a share of few patients is NaN, and not drawn
        edges_B = np.linspace(0, 1, len(own_B) + 1)
        together_B = np.array(together, dtype=np.float64)
        axes.stairs(together_B, edges_B, baseline=None, color=INKS["local"], linestyle=":")
        axes.stairs(
            own_B + margin,
            edges_B,
            baseline=np.maximum(own_B - margin, 0),
            color=ink,
            alpha=0.16,
            fill=True,
            linewidth=0,
        )
        axes.stairs(own_B, edges_B, baseline=None, color=ink, linewidth=1.4)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("grey, from black to white")
        axes.set_xticks([0, 0.5, 1])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        return to_svg(figure)


def _draw_bar(axes: Axes, row: int, bar: Bar) -> None:
    ink = INKS[bar.role]
    axes.plot([bar.figure.low, bar.figure.high], [row, row], color=ink, linewidth=2.2, solid_capstyle="round")
    axes.plot([bar.figure.value], [row], color=ink, marker="o", markersize=5.5)


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "\N{HORIZONTAL ELLIPSIS}"


def to_svg(figure: Figure) -> str:
    """Return the drawing for use inside a page: no prolog, no numbered groups, the page's colours."""
    page = StringIO()
    figure.savefig(page, format="svg", transparent=True, metadata=_METADATA)
    drawing = page.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    for role, ink in INKS.items():
        drawing = drawing.replace(ink, f"var(--{role})")
    return drawing
