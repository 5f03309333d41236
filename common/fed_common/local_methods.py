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


LocalMethod = Proximal
