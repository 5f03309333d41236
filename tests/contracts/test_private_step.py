"""Every private step bounds a patient's influence, and all of them give what plain differentiation gives."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.contracts.private_networks import (
    CLIP,
    COMPILED,
    DEEP,
    NETWORKS,
    NO_CLIP,
    ONE_EACH,
    SEVERAL,
    batch_of,
    by_vmap,
    network,
)
from torch import nn

from fed_client.dataset import LabelledImages
from fed_client.private_step import PatientBatch, PrivateStep, private_step
from fed_client.private_step.bookkeeping_step import BookkeepingStep
from fed_client.private_step.compiled_step import CompiledStep
from fed_client.private_step.opacus_step import OpacusStep
from fed_client.private_step.step import UnsupportedLayerError, move_to_accelerator
from fed_client.training import train_privately
from fed_common.errors import ConfigError, PrivacyError
from fed_common.models.seed_cnn import seed_cnn
from fed_common.plans import DpTerms, TrainTerms

# Shape letters: N images, C channels, H rows, W columns, S patients, P parameters of the flattened model.


STEPS: dict[str, Callable[[nn.Module], PrivateStep]] = {
    "Opacus": OpacusStep,
    "bookkeeping": BookkeepingStep,
    "compiled": private_step,
}


def on_gpu(make_step: Callable[[nn.Module], PrivateStep]) -> Callable[[nn.Module], PrivateStep]:
    def made(model: nn.Module) -> PrivateStep:
        move_to_accelerator(model)
        return make_step(model)

    return made


if torch.accelerator.is_available():
    STEPS |= {"Opacus on a GPU": on_gpu(OpacusStep), "bookkeeping on a GPU": on_gpu(BookkeepingStep)}


@pytest.fixture(params=STEPS)
def new_step(request: pytest.FixtureRequest) -> Callable[[nn.Module], PrivateStep]:
    return STEPS[request.param]


def without_last(batch: PatientBatch) -> PatientBatch:
    return batch.only(torch.arange(batch.num_patients) < batch.num_patients - 1)


@pytest.mark.parametrize("clip_norm", [NO_CLIP, CLIP])
@pytest.mark.parametrize("owners", [ONE_EACH, SEVERAL])
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - DEEP))
def test_every_step_gives_what_differentiation_gives(
    new_step: Callable[[nn.Module], PrivateStep], name: str, owners: Sequence[int], clip_norm: float
) -> None:
    model, batch = network(name), batch_of(owners, NETWORKS[name][1])

    sum_P = new_step(copy.deepcopy(model)).clipped_sum(batch, clip_norm=clip_norm)

    expected_P = by_vmap(model, batch, clip_norm=clip_norm)
    np.testing.assert_allclose(sum_P, expected_P, atol=5e-5 * np.abs(expected_P).max())


@pytest.mark.parametrize("make_step", [OpacusStep, BookkeepingStep])
@pytest.mark.parametrize("name", DEEP)
def test_in_float64_a_deep_network_gives_what_differentiation_gives(
    make_step: Callable[[nn.Module], PrivateStep], name: str
) -> None:
    model, batch = network(name).double(), batch_of(SEVERAL, NETWORKS[name][1])
    batch = replace(batch, images_NCHW=batch.images_NCHW.double())

    sum_P = make_step(copy.deepcopy(model)).clipped_sum(batch, clip_norm=CLIP)

    expected_P = by_vmap(model, batch, clip_norm=CLIP)
    np.testing.assert_allclose(sum_P, expected_P, atol=5e-5 * np.abs(expected_P).max())


@pytest.mark.parametrize("name", ["seed CNN", "residual"])
def test_the_order_of_a_models_memory_changes_nothing(
    new_step: Callable[[nn.Module], PrivateStep], name: str
) -> None:
    model, batch = network(name), batch_of(SEVERAL, NETWORKS[name][1])
    # As a round of training has it; Opacus' own gradients are wrong then.
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    sum_P = new_step(other).clipped_sum(batch, clip_norm=CLIP)

    expected_P = by_vmap(model, batch, clip_norm=CLIP)
    np.testing.assert_allclose(sum_P, expected_P, atol=5e-5 * np.abs(expected_P).max())


@pytest.mark.parametrize("weights", [(), (100.0, 0.01, 1.0)])
@pytest.mark.parametrize("several_labels", [False, True])
def test_every_step_knows_every_objective(
    new_step: Callable[[nn.Module], PrivateStep], weights: Sequence[float], several_labels: bool
) -> None:
    model, batch = network("seed CNN"), batch_of(SEVERAL)
    if several_labels:
        flags_NK = torch.randint(0, 2, (len(SEVERAL), 3), generator=torch.Generator().manual_seed(0))
        object.__setattr__(batch, "labels_N", flags_NK.float())

    sum_P = new_step(copy.deepcopy(model)).clipped_sum(batch, clip_norm=CLIP, class_weights=weights)

    np.testing.assert_allclose(sum_P, by_vmap(model, batch, clip_norm=CLIP, class_weights=weights), atol=1e-5)


@pytest.mark.parametrize("brightness", [0.0, 1.0, 1e4, 1e38])
@pytest.mark.parametrize("name", ["seed CNN", "ResNet-18", "residual, standardised weights"])
def test_one_patient_more_moves_the_sum_by_the_clip_norm_at_most(
    new_step: Callable[[nn.Module], PrivateStep], name: str, brightness: float
) -> None:
    step, batch = new_step(network(name)), batch_of(SEVERAL, NETWORKS[name][1])
    batch.images_NCHW[-2:] *= brightness

    difference_P = step.clipped_sum(batch, clip_norm=CLIP) - step.clipped_sum(
        without_last(batch), clip_norm=CLIP
    )

    assert np.linalg.norm(difference_P) <= CLIP * (1 + 1e-12)  # float64, in which sums are added


@pytest.mark.parametrize(
    ("channels", "side", "pixels", "head", "clip_norm"),
    [(64, 4, 1e-24, 1e17, 1e-9), (64, 4, 1e-23, 1.0, 1e-26), (16, 16, 1e-23, 1.0, 1e-26)],
    ids=["products", "small products", "side by side"],
)
def test_no_gradient_hides_where_its_square_is_nothing_in_float32(
    new_step: Callable[[nn.Module], PrivateStep],
    channels: int,
    side: int,
    pixels: float,
    head: float,
    clip_norm: float,
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64 * side**2, 3, bias=False)
    nn.init.normal_(linear.weight, std=head)
    model = nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.Flatten(), linear)
    batch = batch_of([0], (channels, side, side))
    batch.images_NCHW.mul_(pixels)

    sum_P = new_step(model).clipped_sum(batch, clip_norm=clip_norm).astype(np.float64)

    assert 0 < np.linalg.norm(sum_P) <= clip_norm


@pytest.mark.parametrize("pixel", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["seed CNN", "ResNet-18"])
def test_a_patient_with_a_broken_pixel_adds_nothing_and_spoils_nothing(
    new_step: Callable[[nn.Module], PrivateStep], name: str, pixel: float
) -> None:
    step, batch = new_step(network(name)), batch_of(SEVERAL, NETWORKS[name][1])
    batch.images_NCHW[-1, 0, 5, 5] = pixel

    np.testing.assert_allclose(
        step.clipped_sum(batch, clip_norm=CLIP),
        step.clipped_sum(without_last(batch), clip_norm=CLIP),
        atol=1e-6,
    )


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="this machine has no GPU")
def test_on_a_gpu_a_round_of_training_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = network("residual"), batch_of(SEVERAL, NETWORKS["residual"][1])
    images = LabelledImages(
        images_NCHW=batch.images_NCHW, labels_N=batch.labels_N, patients_N=batch.owner_N, num_patients=5
    )
    dp = DpTerms(noise_multiplier=1.0, clip_norm=CLIP, sampling_rate=1.0, steps=2, max_images_per_patient=4)
    terms = TrainTerms(dp=dp, learning_rate=0.1, momentum=0.5, update_clip=10.0)

    def trained() -> NDArray[np.float64]:
        return train_privately(
            model, images, terms, patients_public=5, randomness=FakeRandomness(), stop=lambda: False
        )

    on_gpu_P = trained()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    np.testing.assert_allclose(on_gpu_P, trained(), atol=1e-4 * np.abs(on_gpu_P).max())


def test_a_batch_of_broken_images_gives_zero(new_step: Callable[[nn.Module], PrivateStep]) -> None:
    batch = batch_of(ONE_EACH)
    batch.images_NCHW.fill_(float("nan"))

    assert not new_step(network("seed CNN")).clipped_sum(batch, clip_norm=CLIP).any()


def test_four_images_of_a_patient_count_as_one(new_step: Callable[[nn.Module], PrivateStep]) -> None:
    step, one = new_step(network("seed CNN")), batch_of([0])
    four = PatientBatch(
        images_NCHW=one.images_NCHW.repeat(4, 1, 1, 1),
        labels_N=one.labels_N.repeat(4),
        owner_N=torch.zeros(4, dtype=torch.int64),
        num_patients=1,
    )

    np.testing.assert_allclose(
        step.clipped_sum(four, clip_norm=CLIP), step.clipped_sum(one, clip_norm=CLIP), atol=1e-6
    )


def test_every_step_follows_the_models_parameters(new_step: Callable[[nn.Module], PrivateStep]) -> None:
    model, batch = network("seed CNN"), batch_of(ONE_EACH)
    step = new_step(model)
    step.clipped_sum(batch, clip_norm=CLIP)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)

    moved = seed_cnn(channels=1, size=32, classes=3)
    moved.load_state_dict(model.state_dict())
    np.testing.assert_allclose(
        step.clipped_sum(batch, clip_norm=CLIP), by_vmap(moved, batch, clip_norm=CLIP), atol=1e-5
    )


def test_a_layer_that_mixes_patients_is_refused() -> None:
    with pytest.raises(PrivacyError):
        private_step(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))


class Doubled(nn.Conv2d):
    """Computes something else than its parent."""

    def forward(self, some: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(some)


UNKNOWN: dict[str, Callable[[], nn.Module]] = {
    "a subclass": lambda: Doubled(2, 4, 3),
    "padding that isn't zeros": lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
    "another kind": lambda: nn.InstanceNorm2d(2, affine=True),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_for_an_unknown_layer_opacus_takes_over_and_the_log_names_it(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.Sequential(nn.ReLU(), UNKNOWN[name](), nn.Flatten(), nn.LazyLinear(3))
    model(torch.randn(1, 2, 8, 8))

    with caplog.at_level(logging.WARNING):
        assert isinstance(private_step(model), OpacusStep)
    assert "layer 1 is a" in caplog.text


def test_the_networks_of_this_project_take_the_fast_way(caplog: pytest.LogCaptureFixture) -> None:
    for name in COMPILED:
        assert isinstance(private_step(network(name)), CompiledStep)
    for name in ("ResNet-18", "residual, standardised weights"):
        assert isinstance(private_step(network(name)), BookkeepingStep)
    assert not caplog.text


@pytest.mark.parametrize(
    "odd",
    [
        nn.Conv2d(1, 8, 3, bias=False),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Conv2d(1, 8, 3, stride=2),
        nn.Conv2d(1, 8, 5),
    ],
    ids=str,
)
def test_another_convolution_is_not_taken_for_a_compiled_one(odd: nn.Module) -> None:
    with pytest.raises(UnsupportedLayerError):
        CompiledStep(nn.Sequential(odd, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(120, 3)))


def test_images_of_other_channels_are_refused_by_the_loops() -> None:
    with pytest.raises(ConfigError, match="1 channels was given 3"):
        CompiledStep(network("seed CNN")).clipped_sum(batch_of([0, 1], (3, 32, 32)), clip_norm=CLIP)
