"""APFL: a hospital's model is a mixture of one of its own and the shared one, and the mixture is trained.

Each round costs its steps twice: once for the shared model, once for the site's own.

Source: Deng, Kamani and Mahdavi, "Adaptive Personalized Federated Learning" (2020), algorithm 1, with a fixed
alpha. The own model is trained against the shared one as it came with the plan; with one step a round that is
the paper's.
"""

from typing import Annotated, Literal

from pydantic import Field

from fed_common.personal.table import PersonalTable
from fed_common.personal_methods import Apfl


class ApflTable(PersonalTable):
    """The personal model is alpha of the site's own and 1 - alpha of the shared one."""

    method: Literal["apfl"]
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5

    def terms(self) -> Apfl:
        """Return the mixture."""
        return Apfl(alpha=self.alpha)
