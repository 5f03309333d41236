"""Shows at a glance who is where: hospitals by classes, a bubble's area being its number of patients."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from fed_common.errors import MachineError
from fed_server.charts import INKS, STYLE, to_svg
from fed_sim.hospitals import FederationSummary, SiteSummary

# The largest bubble's area, in square points: two of them side by side hardly touch.
_LARGEST = 1500.0


def draw_partition(summary: FederationSummary) -> str:
    """Return the picture as a drawing for use inside a page."""
    with mpl.rc_context(STYLE):
        return to_svg(_figure(summary))


def save_partition(summary: FederationSummary, path: Path) -> None:
    """Write the picture to `path`; its ending is the format.

    Raises:
        MachineError: the disk refuses.
    """
    try:
        with mpl.rc_context(STYLE):
            _figure(summary).savefig(path, dpi=150)
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def _figure(summary: FederationSummary) -> Figure:
    tested = [summary.public_test] if summary.public_test.num_patients else []
    sites: Sequence[SiteSummary] = [*summary.sites, *tested]
    classes = sorted({label for site in sites for label in site.classes})
    largest = max(count for site in sites for count in site.classes.values())
    figure = Figure(figsize=(1.9 + 1.0 * len(classes), 0.7 + 0.55 * len(sites)))
    axes = figure.add_subplot()
    for row, site in enumerate(sites):
        ink = INKS["pooled" if site is summary.public_test else "federated"]
        for column, label in enumerate(classes):
            count = site.classes.get(label, 0)
            if count:
                axes.scatter(column, row, s=_LARGEST * count / largest, color=ink, alpha=0.45, linewidths=0)
            axes.text(column, row, str(count), ha="center", va="center", color=INKS["text"])
    axes.set_xticks(range(len(classes)), classes)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(sites)), [f"{site.name}: {site.num_patients}" for site in sites])
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylim(len(sites) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("patients")
    return figure
