"""The networks are those that were agreed on; the seed CNN's layers are compared with their formulas."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.layout import flatten, from_tensors, layout_of, load_flat, num_parameters, to_tensors
from fed_common.models import ModelSpec, build_model, initial_parameters, spec_for
from fed_common.models.seed_cnn import seed_cnn
from fed_common.models.spec import ARCHITECTURES
from fed_common.task import ModelName, Recipe, Task

XRAYS = ModelSpec(channels=1, classes=2)


def weight_and_bias(layer: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    return weight, bias


def convolved(
    image_CHW: NDArray[np.float32], kernel_CHW: NDArray[np.float32], bias: float
) -> list[list[float]]:
    """Return bias + sum over c, i, j of x[c, row + i, column + j] * w[c, i, j]; stride 1, no padding."""
    channels, height, width = kernel_CHW.shape
    rows, columns = image_CHW.shape[1] - height + 1, image_CHW.shape[2] - width + 1
    return [
        [
            bias
            + sum(
                float(image_CHW[c, row + i, column + j]) * float(kernel_CHW[c, i, j])
                for c in range(channels)
                for i in range(height)
                for j in range(width)
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def pooled(image_HW: list[list[float]]) -> list[list[float]]:
    """Return the largest of each 2x2 square; an odd last row or column is dropped."""
    return [
        [
            max(image_HW[2 * row + i][2 * column + j] for i in (0, 1) for j in (0, 1))
            for column in range(len(image_HW[0]) // 2)
        ]
        for row in range(len(image_HW) // 2)
    ]


def test_32_pixels_become_30_then_15_then_13_then_6() -> None:
    sides = []
    activation_NCHW = torch.zeros(1, 1, 32, 32)
    for layer in seed_cnn(channels=1, size=32, classes=2):
        activation_NCHW = layer(activation_NCHW)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            sides.append(tuple(activation_NCHW.shape[1:]))

    assert sides == [(32, 30, 30), (32, 15, 15), (64, 13, 13), (64, 6, 6)]


@pytest.mark.parametrize("channels", [1, 3])
def test_first_convolution_and_pooling_equal_their_formulas(channels: int) -> None:
    model = seed_cnn(channels=channels, size=32, classes=2)
    image_CHW = torch.randn(channels, 32, 32)
    first = model[0]

    by_torch = first(image_CHW[None])[0]
    weights, biases = weight_and_bias(first)
    by_hand = convolved(image_CHW.numpy(), weights[5], float(biases[5]))

    np.testing.assert_allclose(by_torch[5].detach().numpy(), by_hand, atol=1e-5)
    np.testing.assert_allclose(model[2](by_torch)[5].detach().numpy(), pooled(by_hand), atol=1e-5)


def test_second_convolution_and_pooling_equal_their_formulas() -> None:
    second, pool = seed_cnn(channels=1, size=32, classes=2)[3], seed_cnn(channels=1, size=32, classes=2)[5]
    image_CHW = torch.randn(32, 15, 15)

    by_torch = pool(second(image_CHW[None]))[0, 7].detach().numpy()
    weights, biases = weight_and_bias(second)

    np.testing.assert_allclose(
        by_torch, pooled(convolved(image_CHW.numpy(), weights[7], float(biases[7]))), atol=1e-5
    )


def test_linear_layer_equals_its_formula() -> None:
    linear = seed_cnn(channels=1, size=32, classes=2)[7]
    features = torch.randn(2304)

    weights, biases = weight_and_bias(linear)
    by_hand = [
        float(bias) + sum(float(w) * float(x) for w, x in zip(row, features, strict=True))
        for row, bias in zip(weights, biases, strict=True)
    ]

    np.testing.assert_allclose(linear(features).detach().numpy(), by_hand, atol=1e-5)


def test_loss_is_minus_the_logarithm_of_the_labels_softmax() -> None:
    logits, label = [2.0, -1.0, 0.5], 2

    by_hand = -math.log(math.exp(logits[label]) / sum(math.exp(logit) for logit in logits))

    by_torch = functional.cross_entropy(torch.tensor([logits]), torch.tensor([label]))
    assert float(by_torch) == pytest.approx(by_hand, abs=1e-6)


def test_no_softmax_hides_in_the_model() -> None:
    logits_NK = seed_cnn(channels=1, size=32, classes=2)(torch.randn(8, 1, 32, 32))

    assert logits_NK.shape == (8, 2)
    assert not torch.allclose(logits_NK.sum(dim=1), torch.ones(8))


def test_number_of_parameters_is_that_of_the_layers() -> None:
    expected = (9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 6 * 6 * 2 + 2)

    assert num_parameters(layout_of(build_model(XRAYS))) == expected == 23426


def test_fingerprint_is_readable_and_tells_models_apart() -> None:
    colour = ModelSpec(channels=3, classes=4)

    # What hospitals have allowed stays allowed.
    assert XRAYS.fingerprint == "seed-cnn-1x32x32-2@ff3a101e20f0"
    assert colour.fingerprint.startswith("seed-cnn-3x32x32-4@")
    assert XRAYS.fingerprint.split("@")[1] != colour.fingerprint.split("@")[1]
    assert XRAYS.fingerprint == ModelSpec(channels=1, classes=2).fingerprint


@pytest.mark.parametrize(("channels", "classes"), [(2, 2), (1, 1), (1, 65)])
def test_impossible_models_are_refused(channels: int, classes: int) -> None:
    with pytest.raises(ConfigError):
        ModelSpec(channels=channels, classes=classes)


@pytest.mark.parametrize("name", get_args(ModelName))
def test_every_network_learns_from_every_size_it_takes(name: ModelName) -> None:
    for size in ARCHITECTURES[name].sizes:
        spec = ModelSpec(architecture=name, channels=3, size=size, classes=5)
        model = build_model(spec)
        load_flat(model, initial_parameters(spec, seed=0))
        logits_NK = model(torch.randn(2, 3, size, size))
        assert logits_NK.shape == (2, 5)
        assert spec.fingerprint.startswith(f"{name}-3x{size}x{size}-5@")


def test_a_task_names_its_network_and_the_network_its_sizes() -> None:
    task = Task(name="t", classes=("a", "b"), positive="b", recipe=Recipe(size=64), model="resnet-18")

    assert spec_for(task) == ModelSpec(architecture="resnet-18", channels=1, size=64, classes=2)
    assert task.digest == replace(task, model="seed-cnn").digest  # the same images can serve another
    with pytest.raises(ConfigError, match="must be 32 for seed-cnn, got 64"):
        spec_for(replace(task, model="seed-cnn"))


def test_a_residual_network_has_the_parameters_of_its_paper_and_norms_of_one_image() -> None:
    """11,689,512 for three channels and 1,000 classes in the paper's form, as torchvision counts them."""
    paper = build_model(ModelSpec(architecture="resnet-18", channels=3, size=64, classes=2))

    assert num_parameters(layout_of(paper)) == 11_689_512 - 998 * 513
    images_NCHW = torch.randn(3, 3, 64, 64)
    together_NK = paper(images_NCHW)
    images_NCHW[1:] *= 100
    np.testing.assert_allclose(
        paper(images_NCHW)[0].detach().numpy(), together_NK[0].detach().numpy(), atol=1e-5
    )


def test_initial_parameters_depend_on_nothing_but_the_seed() -> None:
    torch.manual_seed(1)
    first = initial_parameters(XRAYS, seed=7)
    torch.manual_seed(2)

    assert np.array_equal(first, initial_parameters(XRAYS, seed=7))
    assert not np.array_equal(first, initial_parameters(XRAYS, seed=8))


def test_initial_weights_fill_their_bounds_and_biases_are_zero() -> None:
    tensors = to_tensors(initial_parameters(XRAYS, seed=7), layout_of(build_model(XRAYS)))

    for name, bound in (("0", (6 / 9) ** 0.5), ("3", (6 / 288) ** 0.5), ("7", (1 / 2304) ** 0.5)):
        assert 0.97 < np.abs(tensors[f"{name}.weight"]).max() / bound <= 1 + 1e-6
        assert not tensors[f"{name}.bias"].any()


def test_signals_neither_fade_nor_grow_through_the_convolutions() -> None:
    """A layer of He's keeps the mean square: half of it is lost in the ReLU, and the weights double it."""
    model = seed_cnn(channels=3, size=32, classes=2)
    load_flat(model, initial_parameters(ModelSpec(channels=3, classes=2), seed=7))
    image_NCHW = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    after_first = model[1](model[0](image_NCHW))
    after_second = model[4](model[3](after_first))

    assert float(after_first.detach().square().mean()) == pytest.approx(1.0, rel=0.3)
    assert float(after_second.detach().square().mean()) == pytest.approx(1.0, rel=0.3)


def test_flat_vector_and_model_are_each_others_inverse() -> None:
    model = build_model(XRAYS)
    vector_P = initial_parameters(XRAYS, seed=3)

    load_flat(model, vector_P)

    assert np.array_equal(flatten(model), vector_P)


def test_loading_keeps_no_tie_to_the_vector() -> None:
    model = build_model(XRAYS)
    vector_P = initial_parameters(XRAYS, seed=3)
    load_flat(model, vector_P)

    vector_P[:] = 0
    flatten(model)[:] = 0

    assert np.array_equal(flatten(model), initial_parameters(XRAYS, seed=3))


def test_flat_vector_and_named_tensors_are_each_others_inverse() -> None:
    layout = layout_of(build_model(XRAYS))
    vector_P = initial_parameters(XRAYS, seed=3)

    tensors = to_tensors(vector_P, layout)

    assert {name: tensor.shape for name, tensor in tensors.items()} == dict(layout)
    assert np.array_equal(from_tensors(tensors, layout), vector_P)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e39])
def test_a_parameter_that_is_no_finite_float32_is_refused(bad: float) -> None:
    vector_P = np.zeros(23426)
    vector_P[-1] = bad

    with pytest.raises(MalformedMessageError):
        load_flat(build_model(XRAYS), vector_P)


@pytest.mark.parametrize("shape", [(23425,), (23427,), (1, 23426)])
def test_a_vector_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MalformedMessageError):
        load_flat(build_model(XRAYS), np.zeros(shape))


def test_tensors_of_another_layout_are_refused() -> None:
    layout = layout_of(build_model(XRAYS))
    tensors = to_tensors(initial_parameters(XRAYS, seed=3), layout)
    tensors["0.bias"] = np.zeros(31, dtype=np.float32)

    with pytest.raises(MalformedMessageError):
        from_tensors(tensors, layout)


def test_a_model_whose_buffers_would_leak_has_no_layout() -> None:
    with pytest.raises(ConfigError, match="running_mean"):
        layout_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
