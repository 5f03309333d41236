"""A method changes a scenario as if its file said so, and never the hospitals."""

import pytest

from fed_common.errors import ConfigError
from fed_sim.experiments.cell import Cell
from fed_sim.experiments.changes import changed, swept
from fed_sim.experiments.grid import Study
from fed_sim.scenario import gallery


def test_a_change_reaches_one_key_and_leaves_the_others() -> None:
    scenario = gallery("breast")

    other = changed(scenario, {"training": {"momentum": 0.5}}, name="slower")

    assert other.training == scenario.training.model_copy(update={"momentum": 0.5})
    assert other.privacy == scenario.privacy


@pytest.mark.parametrize("table", ["data", "partition", "comparison", "model"])
def test_what_makes_the_hospitals_is_no_method(table: str) -> None:
    with pytest.raises(ConfigError, match=f"can't change {table}: that is another scenario"):
        changed(gallery("breast"), {table: {}}, name="other")


def test_an_unknown_key_is_refused_with_its_method_and_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"method odd: .*training.momentun.*did you mean 'momentum'"):
        changed(gallery("breast"), {"training": {"momentun": 0.5}}, name="odd")


def test_a_sweep_has_every_combination_named_by_what_it_sets() -> None:
    methods = swept(["training.momentum=0,0.5", "aggregation.rule=median"])

    assert methods == {
        "training.momentum=0, aggregation.rule=median": {
            "training": {"momentum": 0},
            "aggregation": {"rule": "median"},
        },
        "training.momentum=0.5, aggregation.rule=median": {
            "training": {"momentum": 0.5},
            "aggregation": {"rule": "median"},
        },
    }


@pytest.mark.parametrize("setting", ["training.momentum", "=1", "training.momentum=", "a.b=1,,2"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="key=value,value"):
        swept([setting])


def test_a_study_has_both_baselines_and_every_method_at_every_budget() -> None:
    study = Study.of(gallery("breast"), swept(["training.momentum=0,0.5"]))
    cells = list(study.cells(1, ("hospital-1", "hospital-2")))  # type: ignore[arg-type]

    assert len(cells) == len(set(cells)) == len(study.epsilons) * (1 + 2 + 2)
    assert [study.rounds_of(cell) for cell in cells[::5]] == [10, 5, 2]


def test_rounds_that_are_swept_count_more_than_those_that_an_epsilon_affords() -> None:
    study = Study.of(gallery("breast"), swept(["training.rounds=7"]))
    cell = Cell(study="breast", arm="federated", method="training.rounds=7", epsilon=3.0, seed=1)

    assert study.rounds_of(cell) == 7
