"""What a scenario says of a run is what its coordinator's file says."""

from pathlib import Path

from tests.client.dataset.folders import direct_reading

from fed_server.config import load_federation_config
from fed_server.settings import AggregationTable, CommunicationTable
from fed_sim.consortium import found_consortium
from fed_sim.phantoms import write_phantoms
from fed_sim.scenario import gallery


def test_how_updates_are_written_reaches_the_coordinators_file(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "hospitals", sites=2, seed=1, patients=(2, 2), test_patients=2)
    for updates in ("fixed-point", "8-bit"):
        tables = {
            "aggregation": AggregationTable(masked=False),
            "communication": CommunicationTable(updates=updates),
        }
        consortium = found_consortium(
            tmp_path / updates,
            hospitals=tmp_path / "hospitals",
            scenario=gallery("phantoms").model_copy(update=tables),
            open_reader=direct_reading,
        )
        settings = load_federation_config(consortium.federation_file).settings
        assert settings.communication.updates == updates
        assert ("communication" in consortium.federation_file.read_text()) == (updates == "8-bit")
