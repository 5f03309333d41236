"""Hospitals that keep a model of their own are judged with it, and the public test with the shared one."""

from pathlib import Path

import numpy as np
from tests.sim.experiments.comparing import NOWHERE, tiny_study
from tests.sim.experiments.test_killed_comparison import Told

from fed_sim.experiments.cell import PUBLIC, Measured
from fed_sim.experiments.grid import Study
from fed_sim.experiments.running import STORE_FILE, run_studies
from fed_sim.experiments.store import Store
from fed_sim.experiments.tables import Changes


def deterministic_study() -> Study:
    """Return the tiny study with everybody in every step, so that without noise nothing is left to chance."""
    scenario = tiny_study().scenario
    everybody = {
        "privacy": scenario.privacy.model_copy(update={"sampling_rate": 1.0}),
        # Small steps, so that no score is at its end of the scale.
        "training": scenario.training.model_copy(update={"learning_rate": 0.5}),
        "policy": scenario.policy.model_copy(update={"max_sampling_rate": 1.0}),
    }
    tuning: Changes = {"personal": {"method": "fine-tuning", "steps": 2}}
    methods: dict[str, Changes] = {"shared": {}, "tuned": tuning}
    return Study.of(scenario.model_copy(update=everybody), methods)


def test_a_hospitals_own_model_is_judged_at_that_hospital_alone(tmp_path: Path) -> None:
    run_studies([deterministic_study()], tmp_path, source=NOWHERE, watch=Told())

    with Store.opened(tmp_path / STORE_FILE) as store:
        of_method = {one.cell.method: one for one in store}
    shared, tuned = of_method["shared"], of_method["tuned"]
    assert (shared.personal, tuned.personal) == (False, True)

    def same(where: str) -> bool:
        return np.array_equal(scores(shared, where), scores(tuned, where))

    assert same(PUBLIC)
    assert not same("hospital-1") and not same("hospital-2")


def scores(measured: Measured, where: str) -> np.ndarray:
    found = measured.at(where)
    assert found is not None
    return found.scores_M
