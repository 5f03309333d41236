"""What a federation of virtual sites is made of: a scenario with a table `[virtual]`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from fed_common.config import ConfigTable, load_config
from fed_common.names import Digest, digest_of
from fed_common.proposal import PositiveInt, PrivacyTable
from fed_server.settings import TrainingTable
from fed_sim.scenario import PolicyTable, scenario_file


class VirtualTable(ConfigTable):
    """How many sites with how many drawn images, one of each patient, and which share trains in a round."""

    sites: Annotated[int, Field(ge=1, le=100_000)]
    images: Annotated[int, Field(ge=1, le=10_000)]
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    judge_every: PositiveInt = 10
    test_images: PositiveInt = 600
    seed: Annotated[int, Field(ge=0)] = 1

    @property
    def sites_per_round(self) -> int:
        """Return how many sites train in a round, one at least."""
        return max(1, round(self.fraction * self.sites))


class UnprotectedTable(ConfigTable):
    """Training without any privacy: `steps_per_round` steps through shuffled batches of drawn images."""

    batch_size: PositiveInt = 32


class VirtualScenario(ConfigTable):
    """A federation of virtual sites, private or `unprotected`; the tables are those of the service."""

    name: str
    virtual: VirtualTable
    training: TrainingTable
    privacy: PrivacyTable | None = None
    unprotected: UnprotectedTable | None = None
    policy: PolicyTable = PolicyTable(min_patients=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.privacy is None) == (self.unprotected is None):
            raise ValueError("a scenario of virtual sites has either a table privacy or a table unprotected")
        return self

    @property
    def protection(self) -> PrivacyTable | UnprotectedTable:
        """Return the one of both tables that is there."""
        (table,) = (table for table in (self.privacy, self.unprotected) if table is not None)
        return table

    @property
    def digest(self) -> Digest:
        """Identify what the run computes; it goes on with nothing else."""
        return digest_of(self.model_dump_json().encode())


def load_virtual(name: Path) -> VirtualScenario:
    """Return the scenario in a TOML file, or of that name in the gallery.

    Raises:
        ConfigError: it is missing, or says something that is not allowed.
    """
    return load_config(scenario_file(name), VirtualScenario)
