"""Local fine-tuning: each hospital trains the finished model on, for itself alone.

It is charged together with the last evaluation, which measures what came of it.

Source: Yu, Bagdasaryan and Shmatikov, "Salvaging Federated Learning by Local Adaptation" (2020), section 4.
"""

from typing import Annotated, Literal

from pydantic import Field

from fed_common.personal.table import PersonalTable


class FineTuningTable(PersonalTable):
    """So many private steps on the finished model."""

    method: Literal["fine-tuning"]
    steps: Annotated[int, Field(ge=1)]

    @property
    def last_steps(self) -> int:
        """Return the steps."""
        return self.steps
