"""What a hospital keeps of its personal model: for the next round, and to be used.

Both are made of noised steps that the ledger was charged for. Neither leaves the hospital.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fed_client.algorithms.kept_vectors import KeptVectors
from fed_client.personal.rounds import (
    ApflRound,
    DittoRound,
    PersonalRound,
    SharedAlone,
    Weights,
    WithLocalLayers,
)
from fed_client.policy import PolicyRefusal
from fed_common.checkpoint import encode_model
from fed_common.errors import ConfigError
from fed_common.files import write_atomically
from fed_common.messages import RoundPlan
from fed_common.models import ModelSpec
from fed_common.personal.local_layers import local_part
from fed_common.personal_methods import Apfl, Ditto, LocalLayers
from fed_common.plans import StatisticsTerms

# Shape letters: P parameters of the flattened model.


@dataclass(frozen=True)
class PersonalStore:
    """A folder with the newest round's vector, and RUN.safetensors, the model that was measured last."""

    folder: Path

    def begin(self, plan: RoundPlan, model: nn.Module, *, size: int) -> PersonalRound:
        """Return how the plan's method goes on from what is kept here.

        Raises:
            PolicyRefusal: the installed model has no such layers.
        """
        if isinstance(plan.terms, StatisticsTerms) or (asked := plan.terms.personal) is None:
            return SharedAlone()
        own_P = self._kept.newest(plan, size=size)
        match asked:
            case LocalLayers(head_steps=head_steps):
                try:
                    local_P = local_part(model, asked)
                except ConfigError as error:
                    raise PolicyRefusal("task-differs", str(error)) from error
                return WithLocalLayers(local_P=local_P, head_steps=head_steps, own_P=own_P)
            case Ditto():
                return DittoRound(asked=asked, own_P=own_P)
            case Apfl():
                return ApflRound(asked=asked, own_P=own_P)

    def keep(self, plan: RoundPlan, own_P: NDArray[np.float64]) -> None:
        """Put what is personal after a round on disk; must come before the answer.

        Raises:
            MachineError: it can't be written.
        """
        self._kept.keep(plan, own_P)
        self._kept.forget_all_but(plan, plan.round)

    def publish(self, plan: RoundPlan, measured_P: Weights, spec: ModelSpec) -> None:
        """Put the model that was measured where the hospital finds it, in the form of a published one.

        Raises:
            MachineError: it can't be written.
        """
        write_atomically(
            self.folder / f"{plan.run}.safetensors", encode_model(measured_P.astype(np.float32), spec)
        )

    @property
    def _kept(self) -> KeptVectors:
        return KeptVectors(self.folder)
