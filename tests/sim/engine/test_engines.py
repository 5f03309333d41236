"""Every engine gives the bits of the service's own fold, whoever trains which site."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import privacy_of

from fed_client.training import clip_update, train_privately
from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.errors import MachineError
from fed_common.layout import load_flat
from fed_common.models import build_model, initial_parameters
from fed_common.names import SiteName
from fed_common.plans import DpTerms, TrainTerms
from fed_server.aggregation import OpenWeightedMean
from fed_server.screening import Contribution
from fed_sim.engine.engine import Engine, SequentialEngine, SiteWork
from fed_sim.engine.local_training import LocalTraining, PrivateTraining
from fed_sim.engine.opening import SPEC
from fed_sim.engine.processes import ProcessEngine
from fed_sim.engine.site_images import DrawnImages

IMAGES, SITES = 4, (0, 1, 2, 4)
FIRST_P = initial_parameters(SPEC, seed=3)
TERMS = TrainTerms(
    dp=DpTerms(noise_multiplier=1.0, clip_norm=0.5, sampling_rate=0.5, steps=2, max_images_per_patient=1),
    learning_rate=0.5,
    momentum=0.0,
    update_clip=0.3,
)


def _private_work() -> SiteWork:
    images = DrawnImages(sites=5, images=IMAGES, seed=2)
    randomness = FakeRandomness(noise_in_std=0.01)
    return _work(PrivateTraining(SPEC, images, TERMS, randomness=randomness))


def _work(training: LocalTraining) -> SiteWork:
    return SiteWork(training=training, patients=IMAGES, num_parameters=FIRST_P.size)


def _mean(engine: Engine, sites: Sequence[int] = SITES) -> bytes:
    return engine.mean_update(1, sites, FIRST_P).tobytes()


def test_an_engine_gives_the_bits_of_the_services_training_and_fold() -> None:
    model = build_model(SPEC)
    images = DrawnImages(sites=5, images=IMAGES, seed=2)
    names = {site: SiteName(f"site-{site}") for site in SITES}
    fold = OpenWeightedMean(dict.fromkeys(names.values(), IMAGES), FIRST_P.size)
    for site, name in names.items():
        load_flat(model, FIRST_P)
        delta_P = train_privately(
            model,
            images.of(site),
            TERMS,
            patients_public=IMAGES,
            randomness=FakeRandomness(noise_in_std=0.01),
            stop=lambda: False,
        )
        fold.fold(_contribution(name, fixedpoint.to_fixed(clip_update(delta_P, TERMS.update_clip))))

    assert _mean(SequentialEngine(_private_work())) == fold.close().tobytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_the_bits_of_one(workers: int) -> None:
    work = _private_work()
    expected = _mean(SequentialEngine(work))

    with ProcessEngine.started(work, workers=workers) as engine:
        assert _mean(engine) == _mean(engine, SITES[::-1]) == expected


def test_a_site_that_cannot_train_is_told() -> None:
    with (
        ProcessEngine.started(_work(_Broken()), workers=2) as engine,
        pytest.raises(MachineError, match="ValueError: no images of site 4"),
    ):
        _mean(engine)


def test_a_killed_worker_is_noticed() -> None:
    with (
        ProcessEngine.started(_work(_Killed()), workers=2) as engine,
        pytest.raises(MachineError, match="a worker process has ended"),
    ):
        _mean(engine)


def test_workers_end_with_a_parent_that_was_killed() -> None:
    context = get_context("fork")
    alive, held = context.Pipe(duplex=False)
    parent = context.Process(target=_parent_that_is_killed)
    parent.start()
    held.close()  # now the parent and its workers alone hold it

    parent.join()

    assert parent.exitcode == -signal.SIGKILL
    with pytest.raises(EOFError):  # when the last worker has ended
        alive.recv_bytes()


def _parent_that_is_killed() -> None:
    with ProcessEngine.started(_private_work(), workers=2) as engine:
        _mean(engine)
        os.kill(os.getpid(), signal.SIGKILL)


def _contribution(site: SiteName, values_P: NDArray[np.int64]) -> Contribution:
    return Contribution(
        site=site,
        values=values_P,
        noise_multiplier=1.0,
        tightened=None,
        privacy=privacy_of(),
        log=EMPTY_LOG,
    )


@dataclass(frozen=True)
class _Broken:
    def update(self, number: int, site: int, weights_P: NDArray[np.float32]) -> NDArray[np.float64]:
        if site == 4:
            raise ValueError(f"no images of site {site}")
        return np.zeros(weights_P.size)


@dataclass(frozen=True)
class _Killed:
    def update(self, number: int, site: int, weights_P: NDArray[np.float32]) -> NDArray[np.float64]:
        if site == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(weights_P.size)
