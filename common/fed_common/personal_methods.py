"""What a plan asks of a site's personal model, and how many private steps that takes besides."""

from dataclasses import dataclass
from typing import Literal

from fed_common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LocalLayers:
    """Some layers stay at the site; the first `head_steps` steps of a round train the head alone."""

    method: Literal["fedbn", "fedper", "fedrep"]
    head_steps: int = 0

    def __post_init__(self) -> None:
        if (self.head_steps > 0) != (self.method == "fedrep"):
            raise ConfigError(f"head_steps are for fedrep, got {self.head_steps} for {self.method}")

    def extra_steps(self, shared: int) -> int:
        """Return how many private steps a round takes besides its `shared` ones."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Ditto:
    """A model of the site's own takes `steps` steps a round, drawn to the shared one by `mu`."""

    method: Literal["ditto"] = "ditto"
    mu: float
    steps: int

    def __post_init__(self) -> None:
        # Compared so that NaN fails.
        if not 0 <= self.mu < float("inf"):
            raise ConfigError(f"mu must be at least 0, got {self.mu}")
        if not self.steps >= 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")

    def extra_steps(self, shared: int) -> int:
        """Return how many private steps a round takes besides its `shared` ones."""
        return self.steps


@dataclass(frozen=True, kw_only=True)
class Apfl:
    """The personal model is `alpha` of one of the site's own and the rest of the shared one."""

    method: Literal["apfl"] = "apfl"
    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must be in (0, 1], got {self.alpha}")

    def extra_steps(self, shared: int) -> int:
        """Return how many private steps a round takes besides its `shared` ones."""
        return shared


PersonalMethod = LocalLayers | Ditto | Apfl
