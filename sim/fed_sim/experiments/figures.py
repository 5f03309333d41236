"""What the cells of a comparison amount to: each way of training at each budget, with intervals."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fed_common.metrics import Estimate
from fed_sim.experiments.bootstrap import Redrawn, accuracy, auc, mean_of, over_seeds
from fed_sim.experiments.cell import ARMS, PUBLIC, Arm, Measured, PatientScores

FigureName = Literal["auc", "accuracy"]
_FIGURES: dict[FigureName, Callable[[PatientScores], Redrawn]] = {"auc": auc, "accuracy": accuracy}


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a model was trained, whatever the budget; a hospital alone is one way for all hospitals."""

    arm: Arm
    method: str = ""
    personal: bool = False

    def __str__(self) -> str:
        """Return the way in words."""
        if self.arm == "federated":
            return f"{self.method}, personal" if self.personal else self.method
        return "alone" if self.arm == "local" else "pooled"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way at one budget, judged at one place; a figure is None where it isn't defined there."""

    study: str
    way: Way
    epsilon: float
    where: str
    seeds: int
    patients: int
    auc: Estimate | None
    accuracy: Estimate | None

    def figure(self, name: FigureName) -> Estimate | None:
        """Return the figure of that name."""
        return self.auc if name == "auc" else self.accuracy


class Evidence:
    """The cells of one study; every figure of theirs is redrawn once."""

    def __init__(self, cells: Sequence[Measured]) -> None:
        self.cells = cells
        self._redrawn: dict[tuple[int, str, FigureName], Redrawn] = {}

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """Return all ways: alone, the federated ones in the order of their training, pooled."""
        ways = dict.fromkeys(
            Way(arm=one.cell.arm, method=one.cell.method, personal=one.personal) for one in self.cells
        )
        return tuple(sorted(ways, key=lambda way: ARMS.index(way.arm)))

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Return the budgets, the largest first."""
        return tuple(sorted({one.cell.epsilon for one in self.cells}, reverse=True))

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Return the hospitals with test patients of their own, by number."""
        places = {scores.where for one in self.cells for scores in one.scores} - {PUBLIC}
        return tuple(sorted(places, key=lambda name: (len(name), name)))

    def rows(self) -> Iterator[Row]:
        """Yield what every way amounts to, at the public test and at each hospital's own."""
        for epsilon in self.epsilons:
            for way in self.ways:
                for where in (PUBLIC, *self.hospitals):
                    row = self.row(way, epsilon, where)
                    if row is not None:
                        yield row

    def row(self, way: Way, epsilon: float, where: str) -> Row | None:
        """Return what the way amounts to there, None if nobody was judged."""
        cells = self._judged(way, epsilon, where)
        if not cells:
            return None
        tested = [scores for one in cells if (scores := one.at(where)) is not None]
        found = {
            name: over_seeds([value for _, value in self._by_seed(way, epsilon, where, name)])
            for name in _FIGURES
        }
        return Row(
            study=cells[0].cell.study,
            way=way,
            epsilon=epsilon,
            where=where,
            seeds=len({one.cell.seed for one in cells}),
            patients=round(sum(len(scores.positive_M) for scores in tested) / len(tested)),
            auc=found["auc"],
            accuracy=found["accuracy"],
        )

    def difference(
        self, first: Way, second: Way, *, epsilon: float, where: str, figure: FigureName
    ) -> Estimate | None:
        """Return what the first way has more than the second, over the seeds that both were trained in."""
        values = dict(self._by_seed(first, epsilon, where, figure))
        others = dict(self._by_seed(second, epsilon, where, figure))
        return over_seeds([values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())])

    def _by_seed(
        self, way: Way, epsilon: float, where: str, figure: FigureName
    ) -> Iterator[tuple[int, Redrawn]]:
        cells = self._judged(way, epsilon, where)
        for seed in sorted({one.cell.seed for one in cells}):
            # At the public test, hospitals that train alone are averaged.
            of_seed = [self._figure(one, where, figure) for one in cells if one.cell.seed == seed]
            yield seed, mean_of(of_seed)

    def _figure(self, one: Measured, where: str, figure: FigureName) -> Redrawn:
        key = (id(one), where, figure)
        scores = one.at(where)
        if key not in self._redrawn and scores is not None:
            self._redrawn[key] = _FIGURES[figure](scores)
        return self._redrawn[key]

    def _judged(self, way: Way, epsilon: float, where: str) -> list[Measured]:
        """Return the way's cells; a hospital's own patients are judged by what that one trained alone."""
        return [
            one
            for one in self.cells
            if (one.cell.arm, one.cell.method, one.personal) == (way.arm, way.method, way.personal)
            and one.cell.epsilon == epsilon
            and one.at(where) is not None
            and (way.arm != "local" or where in (PUBLIC, one.cell.hospital))
        ]


def as_json(row: Row) -> dict[str, object]:
    """Return the row for machines; no privacy is an epsilon of null."""

    def interval(figure: Estimate | None) -> list[float] | None:
        return None if figure is None else [round(x, 4) for x in (figure.value, figure.low, figure.high)]

    return {
        "study": row.study,
        "arm": row.way.arm,
        "method": row.way.method,
        "personal": row.way.personal,
        "epsilon": row.epsilon if math.isfinite(row.epsilon) else None,
        "where": row.where,
        "seeds": row.seeds,
        "patients": row.patients,
        "auc": interval(row.auc),
        "accuracy": interval(row.accuracy),
    }
