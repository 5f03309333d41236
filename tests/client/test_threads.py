"""The number of threads that site.toml names is that of the process and of the noise; no order is lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from tests.client.fake_randomness import FakeRandomness
from tests.client.site_files import write_site
from torch import nn

from fed_client.config import read_site_config
from fed_client.dataset import LabelledImages
from fed_client.doctor.machine import check_machine
from fed_client.opening import opened_site
from fed_client.training import train_privately
from fed_common.errors import ConfigError, PrivacyError
from fed_common.plans import DpTerms, TrainTerms
from fed_common.randomness import Randomness, SystemRandomness
from fed_sim.audit.faults import unclipped

STD = 3.0
DP = DpTerms(noise_multiplier=STD, clip_norm=1.0, sampling_rate=0.5, steps=1, max_images_per_patient=1)


@pytest.fixture
def _as_many_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class NobodyDrawn(SystemRandomness):
    """Leaves nothing but noise."""

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        return np.zeros(count, dtype=np.bool_)


class BrokenRandomness(FakeRandomness):
    """Has no noise to give."""

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        raise OSError("the system has no randomness")


def train(
    randomness: Randomness, threads: int, *, momentum: float = 0.0, steps: int = 1
) -> NDArray[np.float64]:
    """Return how far a network of four blocks of parameters moves from zero."""
    head = nn.Linear(1024, 1000, bias=False)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(nn.Flatten(), head)
    images = LabelledImages(
        images_NCHW=torch.zeros(2, 1, 32, 32),
        labels_N=torch.tensor([0, 1]),
        patients_N=torch.tensor([0, 1]),
        num_patients=2,
    )
    return train_privately(
        model,
        images,
        TrainTerms(dp=replace(DP, steps=steps), learning_rate=1.0, momentum=momentum, update_clip=1e3),
        patients_public=2,
        randomness=randomness,
        stop=lambda: False,
        noise_threads=threads,
    )


def test_threads_change_nothing_but_who_draws() -> None:
    by_one_P, by_three_P = (
        train(FakeRandomness(everybody=False, noise_in_std=0.7), threads, momentum=0.5, steps=3)
        for threads in (1, 3)
    )
    assert by_one_P.any()
    assert np.array_equal(by_one_P, by_three_P)


def test_what_several_threads_draw_is_normal_and_unrelated() -> None:
    moved_P = train(NobodyDrawn(), 3)
    size = len(moved_P)
    assert stats.kstest(moved_P / STD, "norm").pvalue > 1e-7
    for lag in (1, 4096, size // 4, 1 << 15, 1 << 16):
        assert abs(np.mean(moved_P[lag:] * moved_P[:-lag])) < 6 * STD**2 / (size - lag) ** 0.5


def test_an_error_in_a_thread_ends_the_round() -> None:
    with pytest.raises(OSError, match="no randomness"):
        train(BrokenRandomness(), 2)


@pytest.mark.usefixtures("_as_many_threads_afterwards")
@pytest.mark.parametrize(("named", "threads"), [({}, 1), ({"threads": 2}, 2)])
def test_a_process_has_as_many_threads_as_site_toml_says(
    tmp_path: Path, named: dict[str, object], threads: int
) -> None:
    config = read_site_config(write_site(tmp_path / "site", site=named))

    with pytest.raises(PrivacyError), opened_site(config, make_step=unclipped):
        pytest.fail("the site opened without clipping")

    assert torch.get_num_threads() == threads


def test_no_thread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threads"):
        read_site_config(write_site(tmp_path / "site", site={"threads": 0}))


def test_the_doctor_warns_of_more_threads_than_cores(tmp_path: Path) -> None:
    (cores,) = (c for c in check_machine(tmp_path, image_bytes=0, threads=1 << 20) if c.subject == "cores")
    assert cores.status == "warning"
    assert "threads" in cores.advice
