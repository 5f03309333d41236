"""Ditto: beside the shared model each hospital trains one of its own, held near the shared one.

Each of its steps is a private step on the same patients, and is charged: with as many as the shared model
takes, the run's noise is that of twice the steps.

Source: Li et al., "Ditto: Fair and Robust Federated Learning Through Personalization" (2021), algorithm 1.
"""

from typing import Annotated, Literal

from pydantic import Field

from fed_common.errors import ConfigError
from fed_common.personal.table import PersonalTable, Surroundings
from fed_common.personal_methods import Ditto


class DittoTable(PersonalTable):
    """`steps` steps a round on the site's loss plus mu / 2 times the squared distance to the shared model."""

    method: Literal["ditto"]
    mu: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=1)]

    def refuse_contradictions(self, around: Surroundings) -> None:
        """Refuse a draw that would overshoot the shared model."""
        super().refuse_contradictions(around)
        if not around.learning_rate * self.mu <= 1:
            raise ConfigError(
                f"personal.mu must be at most 1 / training.learning_rate = {1 / around.learning_rate:g}, "
                f"got {self.mu:g}: a step back would go beyond the shared model"
            )

    def terms(self) -> Ditto:
        """Return the draw and the steps."""
        return Ditto(mu=self.mu, steps=self.steps)
