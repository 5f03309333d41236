"""The way down on a GPU is the processor's, seen here on a processor that plays the GPU."""

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from torch import nn

from fed_client import device_descent
from fed_client.algorithms.correction import Correction, draw_to
from fed_client.descent import Descent, HostDescent
from fed_client.device_descent import DeviceDescent, stays_on_device
from fed_client.private_step import BookkeepingStep, PatientBatch
from fed_common.errors import MalformedMessageError
from fed_common.layout import flatten, load_flat
from fed_common.models.resnet import ResidualBlock
from fed_common.models.seed_cnn import seed_cnn
from fed_common.plans import DpTerms, TrainTerms
from fed_common.randomness import Randomness, SystemRandomness, grid_spacing

# Shape letters: P parameters of the flattened model.

DP = DpTerms(noise_multiplier=1.0, clip_norm=0.3, sampling_rate=1.0, steps=3, max_images_per_patient=4)
NO_NOISE = FakeRandomness()
TERMS = TrainTerms(dp=DP, learning_rate=0.1, momentum=0.5, update_clip=10.0)


def batch(first: int) -> PatientBatch:
    generator = torch.Generator().manual_seed(first)
    return PatientBatch(
        images_NCHW=torch.randn(4, 1, 32, 32, generator=generator),
        labels_N=torch.tensor([0, 1, 2, 1]),
        owner_N=torch.tensor([0, 0, 1, 2]),
        num_patients=3,
    )


def down(descent: Descent, model: torch.nn.Module) -> NDArray[np.float64]:
    """Return how far the model goes."""
    start_P = flatten(model)
    for number in range(DP.steps):
        descent.take(iter([batch(2 * number), batch(2 * number + 1)]))
    descent.take(iter([]))
    return np.subtract(flatten(model), start_P, dtype=np.float64)


def device_descent_of(
    model: torch.nn.Module, terms: TrainTerms = TERMS, *, divisor: float = 6.0
) -> DeviceDescent:
    return DeviceDescent(model, BookkeepingStep(model), terms, divisor=divisor)


def host_descent_of(
    model: torch.nn.Module,
    terms: TrainTerms = TERMS,
    *,
    divisor: float = 6.0,
    randomness: Randomness = NO_NOISE,
    correction: Correction | None = None,
) -> HostDescent:
    return HostDescent(
        model,
        BookkeepingStep(model),
        terms,
        divisor=divisor,
        correction=correction,
        randomness=randomness,
        noise_threads=1,
    )


DESCENTS = [device_descent_of, partial(host_descent_of, randomness=SystemRandomness())]


def test_without_noise_it_goes_where_the_processor_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device_descent, "gaussian_on", lambda _, size, *, std: 0 * std * torch.zeros(size).double()
    )
    model = seed_cnn(channels=1, size=32, classes=3)
    other = copy.deepcopy(model)

    moved_P = down(device_descent_of(model), model)

    assert moved_P.any()
    np.testing.assert_allclose(
        moved_P, down(host_descent_of(other), other), atol=1e-6 * np.abs(moved_P).max()
    )


def test_a_correction_gets_the_numbers_in_the_flat_vectors_order() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(ResidualBlock(1, 32, stride=2), nn.Flatten(), nn.Linear(8192, 3))
    start_P = flatten(model)
    sum_P = BookkeepingStep(copy.deepcopy(model)).clipped_sum(batch(0), clip_norm=DP.clip_norm)
    shared_P = np.linspace(0, 1, start_P.size, dtype=np.float32)
    terms = TrainTerms(dp=DP, learning_rate=0.1, momentum=0.0, update_clip=10.0)

    host_descent_of(model, terms, correction=draw_to(shared_P, mu=0.5)).take(iter([batch(0)]))

    expected_P = start_P - 0.1 * (sum_P / 6 + 0.5 * (start_P - shared_P))
    np.testing.assert_allclose(flatten(model), expected_P, atol=1e-6)


@pytest.mark.parametrize("descent_of", DESCENTS)
def test_an_empty_step_is_noised_on_the_grid(descent_of: Callable[..., Descent]) -> None:
    terms = TrainTerms(dp=DP, learning_rate=1.0, momentum=0.0, update_clip=10.0)
    model = seed_cnn(channels=1, size=32, classes=3)
    load_flat(model, np.zeros_like(flatten(model)))  # from elsewhere the grid would not be seen

    descent_of(model, terms, divisor=1.0).take(iter([]))

    moved_P = flatten(model).astype(np.float64)
    assert np.std(moved_P) == pytest.approx(DP.noise_std, rel=0.05)
    in_grid_P = moved_P / grid_spacing(DP.noise_std)
    np.testing.assert_array_equal(in_grid_P, np.rint(in_grid_P))


@pytest.mark.parametrize("descent_of", DESCENTS)
def test_weights_that_overflow_stop_the_round(descent_of: Callable[..., Descent]) -> None:
    terms = TrainTerms(dp=DP, learning_rate=1e300, momentum=0.0, update_clip=10.0)
    model = seed_cnn(channels=1, size=32, classes=3)
    with pytest.raises(MalformedMessageError):
        descent_of(model, terms).take(iter([]))


def test_only_what_a_device_can_do_exactly_stays_there() -> None:
    step = BookkeepingStep(seed_cnn(channels=1, size=32, classes=3))
    assert not stays_on_device(step, SystemRandomness())

    step.device = torch.device("cuda")
    assert stays_on_device(step, SystemRandomness())
    assert not stays_on_device(step, FakeRandomness())

    step.device = torch.device("mps")
    assert not stays_on_device(step, SystemRandomness())
