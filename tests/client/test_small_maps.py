"""Tap by tap a convolution gives what torch gives, also where a tap meets no pixel at all."""

import pytest
import torch
from torch import nn

from fed_client.private_step.small_maps import convolved, is_small, weight_sum

# Kernel, stride, padding, dilation, map.
LAYERS = [
    (3, 1, 1, 1, (2, 2)),
    (3, 1, 1, 1, (1, 1)),
    (3, 1, 1, 1, (3, 3)),
    (3, 2, 1, 1, (4, 4)),
    (3, 2, 1, 1, (2, 5)),
    ((3, 5), (1, 2), (1, 2), 1, (2, 3)),
    (3, 1, 2, 2, (3, 2)),
    (5, 3, 4, 2, (4, 3)),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "size"), LAYERS)
def test_a_convolution_by_taps_is_the_convolution(
    kernel: int, stride: int, padding: int, dilation: int, size: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias).double()
    inputs_NCHW = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    expected_NOHW = layer(inputs_NCHW)
    gradient_NOHW = torch.randn_like(expected_NOHW)
    at_inputs, at_weights = torch.autograd.grad(expected_NOHW, (inputs_NCHW, layer.weight), gradient_NOHW)

    assert is_small(layer, inputs_NCHW.shape[2:], expected_NOHW.shape[2:])
    layer.requires_grad_(False)
    outputs_NOHW = convolved(layer, inputs_NCHW)
    (by_taps,) = torch.autograd.grad(outputs_NOHW, inputs_NCHW, gradient_NOHW)
    sum_ORSC = weight_sum(layer, inputs_NCHW.detach(), gradient_NOHW.movedim(1, 3))

    torch.testing.assert_close(outputs_NOHW, expected_NOHW)
    torch.testing.assert_close(by_taps, at_inputs)
    torch.testing.assert_close(sum_ORSC.movedim(3, 1), at_weights)


def test_a_map_of_many_pixels_and_groups_are_left_to_torch() -> None:
    layer = nn.Conv2d(6, 6, 3, padding=1)
    assert not is_small(layer, torch.Size((8, 8)), torch.Size((8, 8)))
    grouped = nn.Conv2d(6, 6, 3, padding=1, groups=2)
    assert not is_small(grouped, torch.Size((2, 2)), torch.Size((2, 2)))
