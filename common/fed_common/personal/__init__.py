"""Personalised models: what of a model, or which model, is a hospital's own and never leaves it.

`[personal] method` chooses one of the tables; what sites must do of it is in the plan's terms.
"""

from typing import Annotated

from pydantic import Field

from fed_common.personal.apfl import ApflTable
from fed_common.personal.ditto import DittoTable
from fed_common.personal.fine_tuning import FineTuningTable
from fed_common.personal.local_layers import FedBnTable, FedPerTable, FedRepTable
from fed_common.personal.table import PersonalTable, Surroundings

PersonalChoice = Annotated[
    FedBnTable | FedPerTable | FedRepTable | FineTuningTable | DittoTable | ApflTable,
    Field(discriminator="method"),
]

__all__ = ["PersonalChoice", "PersonalTable", "Surroundings"]
