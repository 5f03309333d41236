"""Some layers are each hospital's own: FedBN's normalisation, FedPer's and FedRep's head.

They are trained in the same clipped and noised steps as the others, so that they cost nothing more, and each
hospital's stay there: its update is zero in their coordinates, the same ones at all sites whatever their
patients. Zeros need no care under masks: a masked zero looks like any other number, and a sum of zeros that
everybody knows to be zero tells nothing.

Sources: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization" (2021), with
GroupNorm's parameters, since BatchNorm couples patients; Arivazhagan et al., "Federated Learning with
Personalization Layers" (2019); Collins et al., "Exploiting Shared Representations for Personalized Federated
Learning" (2021), algorithm 1: first the head, then the body.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from fed_common.errors import ConfigError
from fed_common.models import build_model, trained_part
from fed_common.personal.table import PersonalTable, Surroundings
from fed_common.personal_methods import LocalLayers

# Shape letters: P parameters of the flattened model.


class _LocalLayersTable(PersonalTable):
    def refuse_contradictions(self, around: Surroundings) -> None:
        """Refuse a network without such layers, and a model that none of them was trained with."""
        super().refuse_contradictions(around)
        local_part(build_model(around.model), self.terms())
        if around.averaged:
            raise ConfigError(
                'training.averaging must be "none" where layers are the sites\' own: '
                "they are trained with each round's shared layers, not with a mean over rounds"
            )

    def terms(self) -> LocalLayers:
        raise NotImplementedError


class FedBnTable(_LocalLayersTable):
    """The parameters of normalisation are each site's own."""

    method: Literal["fedbn"]

    def terms(self) -> LocalLayers:
        """Return that."""
        return LocalLayers(method=self.method)


class FedPerTable(_LocalLayersTable):
    """The last layer is each site's own."""

    method: Literal["fedper"]

    def terms(self) -> LocalLayers:
        """Return that."""
        return LocalLayers(method=self.method)


class FedRepTable(_LocalLayersTable):
    """The last layer is each site's own, and trained alone for the first `head_steps` steps of each round."""

    method: Literal["fedrep"]
    head_steps: Annotated[int, Field(ge=1)]

    def refuse_contradictions(self, around: Surroundings) -> None:
        """Refuse rounds without a step for the body, and what needs all steps to be alike."""
        super().refuse_contradictions(around)
        if not self.head_steps < around.steps_per_round:
            raise ConfigError(
                "personal.head_steps must be below training.steps_per_round, "
                f"{around.steps_per_round}, got {self.head_steps}: no step would train the shared layers"
            )
        if around.momentum:
            raise ConfigError(
                f'training.momentum must be 0 with personal.method "fedrep", got {around.momentum:g}: '
                "it would go on moving the layers that are held"
            )
        if around.algorithm == "scaffold":
            raise ConfigError(
                'personal.method "fedrep" and algorithm.name "scaffold" exclude each other: '
                "a control variate takes every step of a round for one of all layers"
            )

    def terms(self) -> LocalLayers:
        """Return that, with the number of steps."""
        return LocalLayers(method=self.method, head_steps=self.head_steps)


def local_part(model: nn.Module, asked: LocalLayers) -> NDArray[np.bool_]:
    """Return which parameters of the flattened model (P) are the sites' own.

    Raises:
        ConfigError: none are, or all.
    """
    modules = [module for module in trained_part(model).modules() if list(module.parameters(recurse=False))]
    if asked.method == "fedbn":
        modules = [module for module in modules if isinstance(module, nn.GroupNorm)]
    else:
        modules = modules[-1:]
    of_own = {id(parameter) for module in modules for parameter in module.parameters(recurse=False)}
    local_P = np.concatenate(
        [np.full(each.numel(), id(each) in of_own) for each in trained_part(model).parameters()]
    )
    if not local_P.any():
        raise ConfigError(f'personal.method "{asked.method}": the network has no such layers')
    if local_P.all():
        raise ConfigError(f'personal.method "{asked.method}": nothing of the network would be shared')
    return local_P
