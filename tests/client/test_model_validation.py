"""Which networks are refused before any plan: those that Opacus' validator lets through, and broken steps."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opacus.validators import ModuleValidator
from torch import nn

from fed_client.config import SiteConfig, read_site_config
from fed_client.doctor.model import check_model
from fed_client.model_validation import (
    random_batch,
    refuse_heavy_patients,
    refuse_mixing,
    refuse_traces,
    refuse_unknown_layers,
    refuse_unsafe,
    refuse_unsafe_model,
    refuse_wrong_sums,
)
from fed_client.opening import opened_site
from fed_client.private_step import MakeStep, PatientBatch, PrivateStep, private_step
from fed_common.errors import PrivacyError
from fed_common.models import ModelSpec
from fed_sim.audit.faults import unclipped

SPEC = ModelSpec(channels=1, classes=2)
BATCH = random_batch(SPEC, several_labels=False)


class KeepsAnImage(nn.Module):
    """Keeps the first image of each batch, for the next checkpoint to publish."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 32, 32))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.seen = images_NCHW[0].detach().clone()
        return images_NCHW


class KeepsAnImageAside(nn.Module):
    """Does the same without a buffer."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.last = images_NCHW[0].detach()
        return images_NCHW


class LessTheMean(nn.Module):
    """Couples the images of a batch without a parameter, a buffer or a well-known name."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return images_NCHW - images_NCHW.mean(dim=0)


def frozen_batch_norm() -> nn.Module:
    layer = nn.BatchNorm2d(4)
    for parameter in layer.parameters():
        parameter.requires_grad = False
    return layer


def network_with(layer: nn.Module, *, channels: int = 4) -> nn.Module:
    """Return a small network with `layer` after its first convolution, or before it for pictures."""
    convolution = nn.Conv2d(1, 4, kernel_size=3)
    body = (layer, convolution) if channels == 1 else (convolution, layer)
    return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def mixing(model: nn.Module) -> None:
    refuse_mixing(model, BATCH.images_NCHW)


def traces(model: nn.Module) -> None:
    refuse_traces(model, BATCH.images_NCHW)


@dataclass(frozen=True)
class Watched:
    """A step that notes how long its sums are, in clip norms of each patient."""

    whole: PrivateStep
    lengths: list[float]

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        sum_P = self.whole.clipped_sum(batch, clip_norm=clip_norm, class_weights=class_weights)
        self.lengths.append(float(np.linalg.norm(sum_P)) / clip_norm / batch.num_patients)
        return sum_P


def watching(lengths: list[float]) -> MakeStep:
    return lambda model: Watched(private_step(model), lengths)


def assert_examined(lengths: list[float]) -> None:
    """Everybody and nobody clipped, then one more of each extreme: never more than a clip norm each."""
    assert len(lengths) == 2 + 1 + 3
    assert all(0 < length <= 1.01 for length in lengths)


Case = tuple[Callable[[], nn.Module], str, Callable[[nn.Module], None]]
PASSED_BY_OPACUS: dict[str, Case] = {
    "frozen BatchNorm": (lambda: network_with(frozen_batch_norm()), "1", mixing),
    "BatchNorm without parameters": (lambda: network_with(nn.BatchNorm2d(4, affine=False)), "1", mixing),
    "the same, its statistics": (lambda: network_with(nn.BatchNorm2d(4, affine=False)), "1", traces),
    "InstanceNorm with statistics": (
        lambda: network_with(nn.InstanceNorm2d(4, track_running_stats=True)),
        "1",
        traces,
    ),
    "an image in a buffer": (lambda: network_with(KeepsAnImage(), channels=1), "0", traces),
    "an image in an attribute": (lambda: network_with(KeepsAnImageAside(), channels=1), "0", traces),
    "less the batch's mean": (lambda: network_with(LessTheMean(), channels=1), "0", mixing),
}


@pytest.mark.parametrize("case", PASSED_BY_OPACUS)
def test_what_opacus_lets_through_is_refused_by_the_layers_name(case: str) -> None:
    make, name, look = PASSED_BY_OPACUS[case]
    assert ModuleValidator.validate(make(), strict=False) == []

    for refuse in (look, lambda model: refuse_unsafe_model(model, BATCH)):
        with pytest.raises(PrivacyError, match=rf"^layer {name} \("):
            refuse(make())


def test_a_batch_norm_is_told_what_to_use_instead() -> None:
    with pytest.raises(PrivacyError, match="GroupNorm"):
        refuse_unknown_layers(network_with(nn.BatchNorm2d(4)))


@pytest.mark.parametrize(
    ("spec", "several_labels"),
    [
        (SPEC, False),
        (ModelSpec(channels=3, classes=5), True),
        (ModelSpec(architecture="resnet-18", size=64, channels=1, classes=2), False),
        (ModelSpec(architecture="resnet-18-ws", size=64, channels=1, classes=2), False),
        (ModelSpec(architecture="scattering", channels=1, classes=2), False),
        (ModelSpec(architecture="breast-ultrasound", channels=3, classes=2), False),
    ],
)
def test_the_networks_that_come_with_the_program_are_accepted(spec: ModelSpec, several_labels: bool) -> None:
    lengths: list[float] = []
    refuse_unsafe(spec, several_labels=several_labels, make_step=watching(lengths))
    assert_examined(lengths)


@pytest.mark.parametrize("layer", [nn.GroupNorm(2, 4), nn.AvgPool2d(2), nn.Identity()], ids=repr)
def test_layers_that_look_at_one_image_are_accepted(layer: nn.Module) -> None:
    lengths: list[float] = []
    refuse_unsafe_model(network_with(layer), BATCH, watching(lengths))
    assert_examined(lengths)


class Altered:
    """A step that is wrong in one way."""

    def __init__(
        self, whole: PrivateStep, alter: Callable[[NDArray[np.floating], float], NDArray[np.floating]]
    ) -> None:
        self._whole = whole
        self._alter = alter

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        return self._alter(self._whole.clipped_sum(batch, clip_norm=clip_norm), clip_norm)


def first_layer_halved(sum_P: NDArray[np.floating], _clip_norm: float) -> NDArray[np.floating]:
    halved_P = sum_P.copy()
    halved_P[: 4 * 9] /= 2
    return halved_P


def test_a_step_with_another_gradient_is_refused_by_the_parameters_name() -> None:
    def make_step(model: nn.Module) -> PrivateStep:
        return Altered(private_step(model), first_layer_halved)

    with pytest.raises(PrivacyError, match=r"gradient of 0\.weight"):
        refuse_wrong_sums(network_with(nn.Identity()), BATCH, make_step)


def test_a_step_that_clips_to_more_than_asked_is_refused() -> None:
    def make_step(model: nn.Module) -> PrivateStep:
        return Altered(private_step(model), lambda sum_P, _: 2 * sum_P)

    with pytest.raises(PrivacyError, match="moves the private step's sum by"):
        refuse_heavy_patients(network_with(nn.Identity()), BATCH, make_step)


def test_a_step_that_lets_nan_through_is_refused() -> None:
    class Spoilt:
        def __init__(self, whole: PrivateStep) -> None:
            self._whole = whole

        def clipped_sum(
            self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
        ) -> NDArray[np.floating]:
            spoilt = float(batch.images_NCHW.sum())  # finite unless a pixel isn't
            return self._whole.clipped_sum(batch, clip_norm=clip_norm) + 0 * spoilt

    with pytest.raises(PrivacyError, match="pixels of nan"):
        refuse_heavy_patients(network_with(nn.Identity()), BATCH, lambda model: Spoilt(private_step(model)))


@pytest.fixture
def config(tmp_path: Path) -> SiteConfig:
    """Return the README's configuration; none of the keys and images that it names is there."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    task, _, site = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "task.toml").write_text(task)
    (tmp_path / "site.toml").write_text(site)
    return read_site_config(tmp_path / "site.toml")


def test_no_site_opens_with_a_step_that_does_not_clip(config: SiteConfig) -> None:
    # Before the keys are missed: no plan can have been answered.
    with pytest.raises(PrivacyError, match="private step"), opened_site(config, make_step=unclipped):
        pytest.fail("the site opened")


def test_the_doctor_examines_the_network_and_says_what_to_do(config: SiteConfig) -> None:
    allowed = replace(config.policy, allowed_models=(SPEC.fingerprint,))

    assert check_model(replace(config, terms=replace(config.terms, policy=allowed))).status == "ok"
    assert check_model(config).subject == "policy"  # the README's names no network
    assert check_model(config).status == "failure"
    assert check_model(config, make_step=unclipped).subject == "model"
    assert check_model(config, make_step=unclipped).status == "failure"
