"""A federation that stands serves only the hospitals, data and model that it was founded on."""

import json
from pathlib import Path

import pytest
from tests.client.dataset.folders import direct_reading

from fed_common.errors import ConfigError
from fed_common.personal.local_layers import FedPerTable
from fed_server.algorithms.fedprox import FedProx
from fed_server.config import load_federation_config
from fed_sim.consortium import found_consortium
from fed_sim.data_table import DataTable
from fed_sim.experiments.ground import Ground
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.hospitals import SUMMARY_FILE
from fed_sim.partition.table import PartitionTable
from fed_sim.phantoms import write_phantoms
from fed_sim.scenario import Scenario, gallery

PHANTOMS = gallery("phantoms")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two hospitals and their federation."""
    folder = tmp_path_factory.mktemp("ground")
    write_phantoms(folder / "hospitals", sites=2, seed=1, patients=(40, 40), test_patients=8)
    ground_at(folder, PHANTOMS)
    return folder


def ground_at(
    folder: Path, scenario: Scenario, *, hospitals: str = "hospitals", fraction: float = 0.2
) -> Ground:
    return Ground.at(
        folder / "federation",
        hospitals=folder / hospitals,
        scenario=scenario,
        known=KnownPictures(direct_reading),
        test_fraction=fraction,
    )


def test_it_is_used_again_by_other_methods(folder: Path) -> None:
    longer = PHANTOMS.training.model_copy(update={"rounds": 7})

    again = ground_at(folder, PHANTOMS.model_copy(update={"training": longer}))

    assert [site.name for site in again.cohort] == ["hospital-1", "hospital-2"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "linear"},
        {"data": DataTable(sizes=(50, 50))},
        {"partition": PartitionTable(sites=7)},
    ],
)
def test_another_scenario_is_refused(folder: Path, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="was founded on other"):
        ground_at(folder, PHANTOMS.model_copy(update=change))


def test_another_test_fraction_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="was founded on other"):
        ground_at(folder, PHANTOMS, fraction=0.3)


def test_other_hospitals_are_refused(folder: Path) -> None:
    summary = json.loads((folder / "hospitals" / SUMMARY_FILE).read_text())
    (folder / "others").mkdir()
    (folder / "others" / SUMMARY_FILE).write_text(json.dumps(summary | {"made": {"seed": 2}}))

    with pytest.raises(ConfigError, match="was founded on other"):
        ground_at(folder, PHANTOMS, hospitals="others")


def test_a_founded_coordinator_has_the_scenarios_algorithm_and_personal_layers(folder: Path) -> None:
    choices: dict[str, object] = {
        "algorithm": FedProx(name="fedprox", mu=0.01),
        "personal": FedPerTable(method="fedper"),
    }
    scenario = PHANTOMS.model_copy(update=choices)

    consortium = found_consortium(
        folder / "personal",
        hospitals=folder / "hospitals",
        scenario=scenario,
        open_reader=direct_reading,
    )

    settings = load_federation_config(consortium.federation_file).settings
    assert {"algorithm": settings.algorithm, "personal": settings.personal} == choices
