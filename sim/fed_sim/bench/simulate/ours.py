"""`fed-sim virtual` itself on the images that the others get: engine, state, and where private, ledgers."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from fed_client.dataset import LabelledImages
from fed_sim.bench.simulate.workload import BATCH, IMAGES, RATE, RoundClock, Sites
from fed_sim.engine.opening import opened_run
from fed_sim.engine.scenario import VirtualScenario


@dataclass(frozen=True)
class _GivenImages:
    sites: Sites

    def of(self, site: int) -> LabelledImages:
        """Return the images of the site, one of each patient."""
        images_NHW, labels_N = self.sites.of(site)
        return LabelledImages(
            images_NCHW=images_NHW,
            labels_N=labels_N,
            patients_N=torch.arange(IMAGES),
            num_patients=IMAGES,
        )


def run(*, private: bool, workers: int = 2) -> None:
    """Run the rounds that the command line asks for."""
    asked = Sites.asked_for()
    scenario = VirtualScenario.model_validate(
        {
            "name": "bench",
            "virtual": {
                "sites": asked.sites,
                "images": IMAGES,
                "fraction": asked.training / asked.sites,
                "judge_every": asked.rounds + 1,
                "test_images": 8,
            },
            "training": {"rounds": asked.rounds, "steps_per_round": IMAGES // BATCH, "learning_rate": RATE},
            **({"privacy": _PRIVACY} if private else {"unprotected": {"batch_size": BATCH}}),
            "policy": {"min_patients": 1, "min_noise_multiplier": 0.3},
        }
    )
    clock = RoundClock()
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_run(scenario, Path(folder), workers=workers, images=_GivenImages(asked)) as opened,
    ):
        opened.run.go_on(opened.state, tell=lambda done: clock.round_done())


_PRIVACY = {
    "epsilon": 100.0,
    "noise_multiplier": 1.0,
    "clip_norm": 1.0,
    "sampling_rate": BATCH / IMAGES,
    "max_images_per_patient": 1,
}
