"""Products of a convolution's inputs are those of torch's own unfolding, however they are made."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from fed_client.private_step import layer_inputs
from fed_client.private_step.layer_inputs import ConvolutionInputs

# Kernel, stride, padding, dilation, map.
LAYERS = [
    (3, 1, 1, 1, (4, 4)),
    (3, 1, 1, 1, (5, 8)),
    (1, 1, 0, 1, (4, 4)),
    ((3, 5), 1, (1, 2), 1, (6, 4)),
    (3, 1, 2, 2, (6, 4)),
    (3, 2, 1, 1, (8, 8)),
    (3, 1, 1, 1, (2, 2)),
    (3, 1, 1, 1, (8, 9)),
    ((3, 5), (2, 1), (1, 2), (1, 2), (17, 11)),
]


@pytest.fixture(params=[64, math.inf], ids=["torch on large maps", "never torch"], autouse=True)
def fewest_for_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch makes gradients of weights depends on the processor."""
    monkeypatch.setattr(layer_inputs, "_FEWEST_FOR_TORCH", request.param)


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "size"), LAYERS)
def test_products_of_inputs_are_those_of_unfolded_inputs(
    kernel: int, stride: int, padding: int, dilation: int, size: tuple[int, int], images: int
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, kernel, stride=stride, padding=padding, dilation=dilation).double()
    inputs_NCHW = torch.randn(2 * images, 6, *size, dtype=torch.float64)
    outputs_NOHW = layer(inputs_NCHW).detach()
    inputs = ConvolutionInputs(layer=layer, inputs_NCHW=inputs_NCHW, size=outputs_NOHW.shape[2:])

    products_STT = inputs.products(2)
    sum_OK = inputs.sum_with(outputs_NOHW.movedim(1, 3).flatten(0, 2))

    # (N, C R S, T), where the inputs' own order is R, S, C.
    unfolded_NKT = functional.unfold(
        inputs_NCHW, layer.kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    unfolded_STK = unfolded_NKT.mT.reshape(2, -1, inputs.width)
    torch.testing.assert_close(products_STT, unfolded_STK @ unfolded_STK.mT)
    expected_OCRS = torch.einsum("not,nkt->ok", outputs_NOHW.flatten(2), unfolded_NKT).view_as(layer.weight)
    torch.testing.assert_close(sum_OK, expected_OCRS.movedim(1, 3).flatten(1))
