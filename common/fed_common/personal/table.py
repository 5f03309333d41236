"""What the tables of all personal methods have in common: what they cost, ask of sites, and contradict."""

from dataclasses import dataclass

from fed_common.config import ConfigTable
from fed_common.errors import ConfigError
from fed_common.models import ModelSpec
from fed_common.personal_methods import PersonalMethod


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What of the rest of the settings a personal method may not go together with."""

    model: ModelSpec
    steps_per_round: int
    learning_rate: float
    momentum: float
    averaged: bool
    vote: bool
    algorithm: str


class PersonalTable(ConfigTable):
    """A method that asks nothing and costs nothing, except where its class says otherwise."""

    method: str

    def refuse_contradictions(self, around: Surroundings) -> None:
        """Return only if the method means something in these surroundings.

        Raises:
            ConfigError: it doesn't; the text says why.
        """
        if around.vote:
            raise ConfigError(
                "[personal] and aggregation.vote exclude each other: "
                "a rollback can't take back what never left the sites"
            )

    def terms(self) -> PersonalMethod | None:
        """Return what every round asks of a site."""
        return None

    def extra_steps(self, steps_per_round: int) -> int:
        """Return how many private steps a round takes besides those of the shared model."""
        asked = self.terms()
        return asked.extra_steps(steps_per_round) if asked else 0

    @property
    def last_steps(self) -> int:
        """Return how many private steps follow on the finished model."""
        return 0
