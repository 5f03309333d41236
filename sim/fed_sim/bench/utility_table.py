"""The utility of several runs: a file that an interrupted measurement goes on with, and a table to read."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fed_common.files import write_atomically
from fed_common.metrics import Estimate
from fed_sim.bench.utility import EPSILONS
from fed_sim.experiments.cell import ARMS, Arm

Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model's figures; `auc_low` and `auc_high` are DeLong's 95 % interval, of the test images alone.

    `hospital` is empty unless it was trained there alone. Infinite epsilon is -1, for JSON.
    """

    collection: str
    sites: int
    arm: Arm
    epsilon: float
    hospital: str
    run: int
    auc: float
    auc_low: float
    auc_high: float
    accuracy: float
    test_patients: int
    commit: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The mean over runs, half its 95 % interval by Student's t, and the 95 % interval of the test images."""

    runs: int
    auc: float
    auc_over_runs: float
    auc_test: Estimate
    accuracy: float
    accuracy_over_runs: float
    accuracy_test: Estimate


class Results:
    """All models measured so far, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        self.rows = [Result(**row) for row in rows]

    def has(self, collection: str, sites: int, run: int, *, arm: Arm, epsilon: float, hospital: str) -> bool:
        """Tell whether this model was measured before; a pooled one, with any number of hospitals."""
        key = (collection, run, arm, _finite(epsilon), hospital)
        return any(
            (row.collection, row.run, row.arm, row.epsilon, row.hospital) == key
            and (row.sites == sites or arm == "pooled")
            for row in self.rows
        )

    def add(self, row: Result) -> None:
        """Put one more model on disk."""
        self.rows.append(row)
        text = json.dumps([asdict(row) for row in self.rows], indent=0)
        write_atomically(self._path, text.encode() + b"\n")


def _finite(epsilon: float) -> float:
    return epsilon if math.isfinite(epsilon) else -1.0


def cell(rows: Sequence[Result]) -> Cell:
    """Return what rows of the same kind amount to; hospitals that trained alone are averaged in each run."""
    runs = sorted({row.run for row in rows})
    of_run = [[row for row in rows if row.run == run] for run in runs]
    aucs = np.array([np.mean([row.auc for row in part]) for part in of_run])
    accuracies = np.array([np.mean([row.accuracy for row in part]) for part in of_run])
    auc, accuracy = float(aucs.mean()), float(accuracies.mean())
    half_auc = float(np.mean([row.auc_high - row.auc_low for row in rows])) / 2
    half_accuracy = Z_95 * math.sqrt(accuracy * (1 - accuracy) / rows[0].test_patients)
    return Cell(
        runs=len(runs),
        auc=auc,
        auc_over_runs=_half_interval(aucs),
        auc_test=Estimate(value=auc, low=auc - half_auc, high=min(1.0, auc + half_auc)),
        accuracy=accuracy,
        accuracy_over_runs=_half_interval(accuracies),
        accuracy_test=Estimate(
            value=accuracy, low=accuracy - half_accuracy, high=min(1.0, accuracy + half_accuracy)
        ),
    )


def _half_interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return NaN for a single run: it says nothing about others."""
    if len(values) < 2:
        return math.nan
    # Here, as no other command of `fed-sim` should wait 0.4 s for it.
    from scipy import stats  # noqa: PLC0415

    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def lines(rows: Sequence[Result]) -> Iterator[str]:
    """Yield a Markdown table: AUC and accuracy of each arm at each epsilon.

    A pooled model doesn't depend on the number of hospitals; it is measured once and stands in each part.
    """
    yield "| images | hospitals | trained | epsilon | AUC | accuracy | runs |"
    yield "|---|---|---|---|---|---|---|"
    for collection, sites in sorted({(row.collection, row.sites) for row in rows}):
        for arm in ARMS:
            for epsilon in EPSILONS:
                kind = [
                    row
                    for row in rows
                    if (row.collection, row.arm, row.epsilon) == (collection, arm, _finite(epsilon))
                    and (row.sites == sites or arm == "pooled")
                ]
                if kind:
                    yield _line(collection, sites, arm, epsilon, cell(kind))


def _line(collection: str, sites: int, arm: Arm, epsilon: float, figures: Cell) -> str:
    auc = _figure(figures.auc_test, figures.auc_over_runs)
    accuracy = _figure(figures.accuracy_test, figures.accuracy_over_runs)
    return f"| {collection} | {sites} | {arm} | {epsilon:g} | {auc} | {accuracy} | {figures.runs} |"


def _figure(test: Estimate, over_runs: float) -> str:
    runs = "" if math.isnan(over_runs) else f" ± {over_runs:.3f}"
    return f"{test.value:.3f}{runs} [{test.low:.3f}, {test.high:.3f}]"
