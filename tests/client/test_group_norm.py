"""With channels last GroupNorm gives what torch gives, there and back, and images don't touch each other."""

import copy
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import nn

from fed_client.private_step.group_norm import in_sequence, normalised, parameter_gradients

# Images, groups, channels, map.
SHAPES = [(5, 2, 4, (3, 3)), (3, 3, 12, (1, 1)), (4, 1, 7, (5, 2)), (6, 32, 64, (32, 32))]


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("images", "groups", "channels", "size"), SHAPES)
def test_there_and_back_it_is_torchs(
    images: int, groups: int, channels: int, size: tuple[int, int], order: torch.memory_format, rectify: bool
) -> None:
    layer = _layer(groups, channels)
    inputs = (3 + torch.randn(images, channels, *size)).contiguous(memory_format=order).requires_grad_()
    gradient = torch.randn(images, channels, *size)

    outputs = normalised(layer, inputs, rectify=rectify)
    (at_inputs,) = torch.autograd.grad(outputs, inputs, gradient)
    at_parameters = parameter_gradients(outputs)

    exact = copy.deepcopy(layer).double()  # in float32 torch itself is up to 1e-5 off
    for image in range(images):
        one = inputs[image : image + 1].double()
        expected = exact(one).relu() if rectify else exact(one)
        sought = (one, exact.weight, exact.bias)
        gradients = torch.autograd.grad(expected, sought, gradient[image : image + 1].double())
        ours = (outputs[image], at_inputs[image], *(some_NC[image] for some_NC in at_parameters))
        for found, wanted in zip(ours, (expected[0], gradients[0][0], *gradients[1:]), strict=True):
            torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_broken_pixel_spoils_its_image_alone(broken: float, rectify: bool) -> None:
    layer = _layer(2, 4)
    inputs = torch.randn(3, 4, 5, 5)
    whole = normalised(layer, inputs.clone().requires_grad_(), rectify=rectify)
    inputs[1, 0, 2, 2] = broken
    inputs.requires_grad_()

    outputs = normalised(layer, inputs, rectify=rectify)
    (at_inputs,) = torch.autograd.grad(outputs, inputs, torch.ones_like(outputs))

    assert not outputs[1].isfinite().all()
    assert torch.equal(outputs[[0, 2]], whole[[0, 2]])
    assert at_inputs[[0, 2]].isfinite().all()
    assert not parameter_gradients(outputs)[0][1].isfinite().all()


def test_what_isnt_images_in_float32_is_left_to_torch() -> None:
    layer = _layer(2, 4).double()
    images_NCHW = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    series_NCT = torch.randn(2, 4, 3, requires_grad=True)

    for layer_of_kind, inputs in ((layer, images_NCHW), (_layer(2, 4), series_NCT)):
        outputs = normalised(layer_of_kind, inputs)

        assert torch.equal(outputs, layer_of_kind(inputs))
        assert parameter_gradients(outputs) == ()


def test_in_a_sequence_only_a_relu_behind_a_norm_is_spared() -> None:
    spared, kept, alone = nn.ReLU(), nn.ReLU(), nn.GroupNorm(2, 4, affine=False)
    norm, other_norm = _layer(2, 4), _layer(1, 4)
    layers = nn.Sequential(norm, spared, nn.Identity(), other_norm, nn.Sigmoid(), kept, alone, nn.ReLU())
    for layer in (norm, other_norm):
        layer.requires_grad_(False)
    inputs = torch.randn(3, 4, 5, 5, requires_grad=True)
    expected = layers(inputs)
    for layer in (norm, other_norm):
        layer.forward = partial(normalised, layer)  # type: ignore[method-assign]
    passed = list[nn.Module]()
    for part in layers:
        part.register_forward_hook(lambda part, _, __: passed.append(part))

    outputs = in_sequence(layers, inputs)

    assert passed == [part for part in layers if part is not spared]
    torch.testing.assert_close(outputs, expected)
    found, wanted = (torch.autograd.grad(some.square().sum(), inputs)[0] for some in (outputs, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # nothing tells then what the norm did
        torch.testing.assert_close(in_sequence(layers, inputs), expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_norm_that_is_left_to_torch_is_followed_by_its_relu(kind: torch.dtype) -> None:
    norm = _layer(2, 4).to(kind)
    layers = nn.Sequential(norm, nn.ReLU())
    inputs = torch.randn(2, 4, 3, dtype=kind, requires_grad=True)
    expected = layers(inputs)
    norm.forward = partial(normalised, norm)  # type: ignore[method-assign]

    assert torch.equal(in_sequence(layers, inputs), expected)


def _layer(groups: int, channels: int) -> nn.GroupNorm:
    torch.manual_seed(0)
    layer = nn.GroupNorm(groups, channels)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer
