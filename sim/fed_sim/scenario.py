"""scenario.toml: what is rehearsed - which hospitals, and the same tables that a real federation has."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.personal import PersonalChoice
from fed_common.proposal import EvaluationTable, PrivacyTable, StatisticsTable
from fed_common.task import ModelName
from fed_server.algorithms import AlgorithmTable, FedAvg
from fed_server.settings import AggregationTable, CommunicationTable, QuorumTable, TrainingTable
from fed_sim.data_table import DataTable
from fed_sim.experiments.tables import ComparisonTable
from fed_sim.faults.table import FaultTable
from fed_sim.partition.table import PartitionTable


class PolicyTable(ConfigTable):
    """What every rehearsing hospital allows; the budget is the run's epsilon unless it says otherwise."""

    epsilon: float | None = None
    min_noise_multiplier: float = 0.3
    max_sampling_rate: float = 0.5
    min_patients: Annotated[int, Field(ge=1)] = 20
    min_cohort: Annotated[int, Field(ge=1)] = 2


class Scenario(ConfigTable):
    """A whole federation on one machine; `model` takes the place of the task's own network.

    `data` and `partition` say which hospitals it is for, `comparison` what is compared on them,
    and `faults` which of them fail.
    """

    name: str
    model: ModelName | None = None
    quorum: QuorumTable
    training: TrainingTable
    privacy: PrivacyTable
    evaluation: EvaluationTable = EvaluationTable()
    aggregation: AggregationTable = AggregationTable()
    statistics: StatisticsTable | None = None
    algorithm: AlgorithmTable = FedAvg()
    personal: PersonalChoice | None = None
    communication: CommunicationTable = CommunicationTable()
    policy: PolicyTable = PolicyTable()
    data: DataTable = DataTable()
    partition: PartitionTable = PartitionTable()
    comparison: ComparisonTable = ComparisonTable()
    faults: tuple[FaultTable, ...] = ()


def load_scenario(path: Path) -> Scenario:
    """Return the scenario in the TOML file at `path`.

    Raises:
        ConfigError: it is missing or says something that is not allowed.
    """
    return load_config(path, Scenario)


def gallery(name: str) -> Scenario:
    """Return one of the scenarios that come with the program, such as `phantoms` or `pneumonia`."""
    return load_scenario(scenario_file(Path(name)))


def named_scenario(name: Path) -> Scenario:
    """Return the scenario in a file, or of that name in the gallery; see `scenario_file`."""
    return load_scenario(scenario_file(name))


def scenario_file(name: Path) -> Path:
    """Return the TOML file itself, or that of the gallery's scenario of this name.

    Raises:
        ConfigError: the gallery has none of this name.
    """
    if name.suffix == ".toml":
        return name
    files = {path.stem: path for path in (Path(__file__).parent / "scenarios").glob("*.toml")}
    if (file := files.get(str(name))) is None:
        raise ConfigError(
            f"no scenario is called {name}; there are {', '.join(sorted(files))}; or name a .toml file"
        )
    return file
