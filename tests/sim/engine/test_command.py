"""`fed-sim virtual` says what the whole run has spent, however often it was started."""

import json
from pathlib import Path

import pytest
from tests.sim.engine.virtual_runs import killed_run

from fed_sim.engine.command import virtual
from fed_sim.engine.participation import sites_of_round
from fed_sim.engine.scenario import load_virtual

SCENARIO = """
name = "one-a-round"
virtual = { sites = 6, images = 5, fraction = 0.1, seed = 1, test_images = 20 }
training = { rounds = 3, steps_per_round = 2, learning_rate = 0.1 }
privacy = { epsilon = 8.0, sampling_rate = 0.5, clip_norm = 0.15 }
"""


def test_a_run_started_again_says_the_epsilon_of_a_whole_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(SCENARIO)
    scenario = load_virtual(file)
    # Who has spent most has trained before the kill only.
    assert [sites_of_round(scenario.virtual, number) for number in (1, 2, 3)] == [[0], [0], [3]]

    killed_run(scenario, tmp_path / "killed", number=2, moment="counted")
    for out in ("whole", "killed", "killed"):
        virtual(file, tmp_path / out, workers=0, json=True)

    events = map(json.loads, capsys.readouterr().out.splitlines())
    whole, resumed, finished = (event["epsilon"] for event in events if event["event"] == "finished")
    assert 7.8 < whole == resumed == finished <= 8.0
