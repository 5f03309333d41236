"""Refuses a network in which patients could mix, stay behind or weigh more than they may, before any plan.

A network is examined on random pictures, at the daemon's start, in this order:

1. each layer is of a kind known to look at one image at a time;
2. a pass in training leaves no trace: buffers and attributes are what they were;
3. an image's way through the layers doesn't depend on the images beside it;
4. the private step's sum is that of patients alone, each differentiated by torch itself, then clipped;
5. one patient moves that sum by the clip norm at most, whatever its pixels are.

Opacus' own validator lets through a BatchNorm without trainable parameters, an InstanceNorm that keeps
statistics, and a layer that keeps an image (its tests are here: `tests/client/test_model_validation.py`).
"""

# Shape letters: N images, C channels, H rows, W columns, S patients, P parameters of the flattened model.

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.private_step import MakeStep, PatientBatch, private_step
from fed_common import seeds
from fed_common.errors import PrivacyError
from fed_common.layout import layout_of
from fed_common.models import ModelSpec, build_model, trained_part
from fed_common.models.frozen import FrozenThenHead
from fed_common.objective import image_losses

# What the networks of `fed_common.models` are made of; for BatchNorm, which isn't here, they have GroupNorm.
_KNOWN_LAYERS = frozenset(
    {
        nn.AdaptiveAvgPool2d,
        nn.AvgPool2d,
        nn.Conv2d,
        nn.Flatten,
        nn.GroupNorm,
        nn.Identity,
        nn.Linear,
        nn.MaxPool2d,
        nn.ReLU,
        nn.Sequential,
    }
)
_OWN_LAYERS = "fed_common.models."

# Convolutions of batches of other sizes add in another order. Where that moves an input of a ReLU across 0, a
# layer's gradient changes by up to some 1e-3 of the whole; where it doesn't, by 5e-7 (decision 0014).
_TOLERANCE = 1e-2
_CLIP_NORM = 0.1
_OWNERS = (0, 0, 1, 2, 3)
# White (black is -2), about the largest number there is, and none.
_EXTREMES = (2.0, 1e38, float("nan"))


@cache
def refuse_unsafe(spec: ModelSpec, *, several_labels: bool, make_step: MakeStep = private_step) -> None:
    """Return only if the installed network keeps patients apart; a process examines each network once.

    Raises:
        PrivacyError: it doesn't; the layer is named.
    """
    refuse_unsafe_model(build_model(spec), random_batch(spec, several_labels=several_labels), make_step)


def refuse_unsafe_model(model: nn.Module, batch: PatientBatch, make_step: MakeStep = private_step) -> None:
    """Return only if the network, in all five steps, keeps the patients of `batch` apart.

    Raises:
        PrivacyError: it doesn't; the layer is named.
    """
    refuse_unknown_layers(model)
    refuse_traces(model, batch.images_NCHW)
    refuse_mixing(model, batch.images_NCHW)
    refuse_wrong_sums(model, batch, make_step)
    refuse_heavy_patients(model, batch, make_step)


def random_batch(spec: ModelSpec, *, several_labels: bool) -> PatientBatch:
    """Return a few patients' random pictures, the same each time; the first patient has two."""
    rng = seeds.stream(0, "model validation")
    shape = (len(_OWNERS), spec.channels, spec.size, spec.size)
    labels_N = torch.from_numpy(rng.integers(0, spec.classes, len(_OWNERS)))
    if several_labels:
        labels_N = torch.from_numpy(rng.integers(0, 2, (len(_OWNERS), spec.classes))).float()
    return PatientBatch(
        images_NCHW=torch.from_numpy(rng.normal(size=shape)).float(),
        labels_N=labels_N,
        owner_N=torch.tensor(_OWNERS),
        num_patients=max(_OWNERS) + 1,
    )


def refuse_unknown_layers(model: nn.Module) -> None:
    """Return only if all layers are of known kinds, or written for this project (step 1)."""
    for name, layer in model.named_modules():
        kind = type(layer)
        if kind not in _KNOWN_LAYERS and not kind.__module__.startswith(_OWN_LAYERS):
            advice = "; GroupNorm does the same for each image alone" if "BatchNorm" in kind.__name__ else ""
            raise PrivacyError(f"{_named(name, layer)} is not known to keep patients apart{advice}")


def refuse_traces(model: nn.Module, images_NCHW: torch.Tensor) -> None:
    """Return only if a pass in training changes no tensor of the model but its output (step 2)."""
    model = copy.deepcopy(model).train()
    before = {place: value.clone() for place, value in _kept_tensors(model)}
    with torch.no_grad():
        model(images_NCHW)
    after = dict(_kept_tensors(model))
    for (name, attribute), value in after.items():
        old = before.get((name, attribute))
        if old is None or not _same_bits(old, value):
            layer = model.get_submodule(name)
            raise PrivacyError(f"{_named(name, layer)} keeps something of the images in its {attribute}")


def refuse_mixing(model: nn.Module, images_NCHW: torch.Tensor) -> None:
    """Return only if the first image comes out of every layer the same, whatever is beside it (step 3)."""
    model = copy.deepcopy(model).train()
    others_NCHW = images_NCHW.clone()
    others_NCHW[1:] = 100 * images_NCHW[1:].flip(0) + 100
    first, second = (_ways_through(model, batch_NCHW) for batch_NCHW in (images_NCHW, others_NCHW))
    for (name, output), (_, other) in zip(first, second, strict=True):
        if not _close(output, other):
            layer = model.get_submodule(name)
            raise PrivacyError(f"{_named(name, layer)} mixes patients: an image's output changes with others")


def refuse_wrong_sums(model: nn.Module, batch: PatientBatch, make_step: MakeStep = private_step) -> None:
    """Return only if the private step adds up what patients alone would add (step 4)."""
    alone_SP = np.stack([_gradient_alone(model, batch, patient) for patient in range(batch.num_patients)])
    norms_S = np.linalg.norm(alone_SP, axis=1)
    # Once with everybody shortened, once with nobody.
    for clip_norm in (norms_S.min() / 2, norms_S.max() * 2):
        expected_P = np.minimum(1, clip_norm / norms_S) @ alone_SP
        sum_P = _step(model, make_step, batch, clip_norm=float(clip_norm))
        start = 0
        for name, shape in layout_of(model):
            part = slice(start, start := start + int(np.prod(shape)))
            # Against the whole, for a part may be next to nothing.
            error = np.linalg.norm(sum_P[part] - expected_P[part]) / np.linalg.norm(expected_P)
            if not error <= _TOLERANCE:
                raise PrivacyError(f"the private step's gradient of {name} is not that of patients alone")


def refuse_heavy_patients(model: nn.Module, batch: PatientBatch, make_step: MakeStep = private_step) -> None:
    """Return only if one more patient moves the sum by the clip norm at most (step 5)."""
    before_P = _step(model, make_step, batch, clip_norm=_CLIP_NORM)
    for extreme in _EXTREMES:
        joined_P = _step(model, make_step, _joined(batch, extreme), clip_norm=_CLIP_NORM)
        moved = np.linalg.norm(joined_P - before_P) / _CLIP_NORM
        if not moved <= 1 + _TOLERANCE:
            raise PrivacyError(
                f"a patient with pixels of {extreme:g} moves the private step's sum by {moved:.3g} clip norms"
            )


def _joined(batch: PatientBatch, extreme: float) -> PatientBatch:
    """Return the batch and one more patient, whose picture is all stripes."""
    image_CHW = torch.full_like(batch.images_NCHW[0], extreme)
    image_CHW[:, ::2] = -extreme
    return PatientBatch(
        images_NCHW=torch.cat([batch.images_NCHW, image_CHW[None]]),
        labels_N=torch.cat([batch.labels_N, batch.labels_N[:1]]),
        owner_N=torch.cat([batch.owner_N, torch.tensor([batch.num_patients])]),
        num_patients=batch.num_patients + 1,
    )


def _step(
    model: nn.Module, make_step: MakeStep, batch: PatientBatch, *, clip_norm: float
) -> NDArray[np.float64]:
    # As in training, what has no parameters comes before the step. A step may change what it is given.
    step = make_step(copy.deepcopy(trained_part(model)).train())
    with torch.no_grad():
        inputs = model.features(batch.images_NCHW) if isinstance(model, FrozenThenHead) else batch.images_NCHW
    sum_P = step.clipped_sum(replace(batch, images_NCHW=inputs.clone()), clip_norm=clip_norm)
    return sum_P.astype(np.float64, copy=False)


def _gradient_alone(model: nn.Module, batch: PatientBatch, patient: int) -> NDArray[np.float64]:
    model = copy.deepcopy(model).train()
    own_N = batch.owner_N == patient
    loss = image_losses(model(batch.images_NCHW[own_N]), batch.labels_N[own_N]).mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    gradient_P: NDArray[np.float64] = torch.cat([part.flatten() for part in gradients]).double().numpy()
    return gradient_P


def _kept_tensors(model: nn.Module) -> Iterator[tuple[tuple[str, str], torch.Tensor]]:
    """Yield what layers could keep of images: buffers, and tensors that are plain attributes."""
    for name, layer in model.named_modules():
        for attribute, value in (*layer.named_buffers(recurse=False), *vars(layer).items()):
            if isinstance(value, torch.Tensor):
                yield (name, attribute), value


def _ways_through(model: nn.Module, images_NCHW: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return what each layer makes of the first image, in the order of the pass."""
    outputs: list[tuple[str, torch.Tensor]] = []
    with torch.no_grad():
        handles = [
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: outputs.append((name, output[0].clone()))
            )
            for name, layer in model.named_modules()
        ]
        model(images_NCHW)
    for handle in handles:
        handle.remove()
    return outputs


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * float(one.abs().max()))


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _named(name: str, layer: nn.Module) -> str:
    return f"layer {name or 'model'} ({type(layer).__name__})"
