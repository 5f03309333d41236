"""Lays out which models a comparison trains: every method, budget and seed, each beside its two baselines."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from fed_common.names import SiteName
from fed_sim.experiments.cell import Cell
from fed_sim.experiments.changes import changed
from fed_sim.experiments.tables import Changes
from fed_sim.scenario import Scenario

# What the scenario's own way is called where no method is named.
UNCHANGED = "together"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One scenario with the methods to compare on its hospitals."""

    scenario: Scenario
    methods: Mapping[str, Scenario]

    @classmethod
    def of(cls, scenario: Scenario, methods: Mapping[str, Changes] | None = None) -> Self:
        """Return the study of these methods, or of the scenario's own.

        Raises:
            ConfigError: a method changes what is not allowed.
        """
        named = methods or scenario.comparison.methods or {UNCHANGED: {}}
        return cls(
            scenario=scenario,
            methods={name: changed(scenario, changes, name=name) for name, changes in named.items()},
        )

    @property
    def seeds(self) -> range:
        """Return the seeds by which patients are dealt out."""
        return range(1, self.scenario.comparison.seeds + 1)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Return the budgets, from none at all to the smallest."""
        table = self.scenario.comparison
        return ((math.inf,) if table.without_privacy else ()) + tuple(sorted(table.epsilons, reverse=True))

    def scenario_of(self, cell: Cell) -> Scenario:
        """Return the scenario that a cell trains by; what isn't federated has no method."""
        return self.methods[cell.method] if cell.arm == "federated" else self.scenario

    def rounds_of(self, cell: Cell) -> int:
        """Return how many rounds a cell trains for: what a method changes counts more than the table."""
        usual, rounds = self.scenario.training.rounds, self.scenario_of(cell).training.rounds
        afforded = self.scenario.comparison.rounds.get(f"{cell.epsilon:g}", usual)
        return rounds if rounds != usual else afforded

    def cells(self, seed: int, hospitals: tuple[SiteName, ...]) -> Iterator[Cell]:
        """Yield the cells of one seed; every method comes before the next budget."""
        for epsilon in self.epsilons:
            base = Cell(study=self.scenario.name, arm="pooled", epsilon=epsilon, seed=seed)
            yield base
            for hospital in hospitals:
                yield Cell(study=base.study, arm="local", epsilon=epsilon, hospital=str(hospital), seed=seed)
            for method in self.methods:
                yield Cell(study=base.study, arm="federated", method=method, epsilon=epsilon, seed=seed)
