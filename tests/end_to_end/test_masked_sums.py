"""Masks change nothing but what the coordinator sees: the model is the same to the last bit."""

from pathlib import Path

import pytest
from tests.client.fake_randomness import FakeRandomness
from tests.end_to_end.processes import SCENARIO
from tests.end_to_end.test_main_job import give_the_same_pseudonyms, last_parameters

from fed_common.masking.ring import Ring, smallest_ring
from fed_server.config import load_federation_config
from fed_server.journal import RoundPublished, RunStarted
from fed_server.settings import AggregationTable
from fed_sim.consortium import found_consortium
from fed_sim.simulation import simulate

# With this clip the sum needs the 64 bits that plain updates have; a coarser grid would change last bits.
WIDE = SCENARIO.model_copy(update={"privacy": SCENARIO.privacy.model_copy(update={"update_clip": 1e4})})


def simulated(root: Path, hospitals: Path, *, masked: bool | None) -> tuple[RunStarted, list[RoundPublished]]:
    scenario = WIDE.model_copy(update={"aggregation": AggregationTable(masked=masked)})
    consortium = found_consortium(root, hospitals=hospitals, scenario=scenario)
    give_the_same_pseudonyms(consortium)
    settings = load_federation_config(consortium.federation_file).settings
    assert smallest_ring(settings.train_terms(), settings.cohort) == Ring(bits=64, fraction_bits=32)
    folder, _ = simulate(consortium, observer=lambda _: None, randomness=FakeRandomness())
    events = folder.journal.read()
    (started,) = (event for event in events if isinstance(event, RunStarted))
    return started, [event for event in events if isinstance(event, RoundPublished)]


@pytest.mark.slow
def test_with_masks_and_without_the_model_is_the_same(tmp_path: Path, hospitals: Path) -> None:
    by_default, rounds = simulated(tmp_path / "masked", hospitals, masked=None)
    plainly, _ = simulated(tmp_path / "plain", hospitals, masked=False)
    assert (by_default.masked, plainly.masked) == (True, False)
    assert [len(published.sites) for published in rounds] == [3, 3, 3]
    assert last_parameters(tmp_path / "masked") == last_parameters(tmp_path / "plain")
