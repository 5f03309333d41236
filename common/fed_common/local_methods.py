"""What a plan asks of a site's local steps besides private SGD; the site's policy sees it in the terms."""

from dataclasses import dataclass
from typing import Literal

from fed_common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Proximal:
    """FedProx: each step is drawn back to the shared model by `mu` times the way that the weights have gone.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks" (2020), equation 2.
    """

    method: Literal["fedprox"] = "fedprox"
    mu: float

    def __post_init__(self) -> None:
        if not 0 < self.mu < float("inf"):
            raise ConfigError(f"mu must be above 0, got {self.mu}")


@dataclass(frozen=True, kw_only=True)
class ControlVariates:
    """SCAFFOLD: each step is corrected by how the site's mean gradient differs from that of all sites.

    The control variate of all sites comes with the plan, behind the model; the site's own never leaves it.

    Source: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning" (2020).
    """

    method: Literal["scaffold"] = "scaffold"


LocalMethod = Proximal | ControlVariates
