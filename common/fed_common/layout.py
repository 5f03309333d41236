"""Between a model's named tensors and the one flat vector that is clipped, noised, summed and signed.

The order is that of `named_parameters()`. Buffers are not carried: a model that needs them (BatchNorm's
running statistics) would publish them without noise, so it has no layout.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common.errors import ConfigError, MalformedMessageError

Layout = tuple[tuple[str, tuple[int, ...]], ...]


def layout_of(model: nn.Module) -> Layout:
    """Return the names and shapes of the parameters in the order of the flat vector.

    Raises:
        ConfigError: the model has buffers or frozen parameters.
    """
    buffers = [name for name, _ in model.named_buffers()]
    if buffers:
        raise ConfigError(f"a model can't have buffers, this one has {', '.join(buffers)}")
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if frozen:
        raise ConfigError(f"all parameters must be trainable, these are not: {', '.join(frozen)}")
    return tuple((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())


def num_parameters(layout: Layout) -> int:
    """Return the length of the flat vector."""
    return sum(math.prod(shape) for _, shape in layout)


def flatten(model: nn.Module) -> NDArray[np.float32]:
    """Return a copy of the model's parameters as one vector."""
    parameters = [parameter.detach() for parameter in model.parameters()]
    vector_P = torch.empty(sum(parameter.numel() for parameter in parameters))
    return joined(parameters, vector_P).numpy()


def joined(tensors: Sequence[torch.Tensor], vector_P: torch.Tensor) -> torch.Tensor:
    """Return the vector, to which tensors shaped as a model's parameters have been written."""
    for piece, tensor in zip(cut(vector_P, tensors), tensors, strict=True):
        piece.copy_(tensor)  # once, whatever its strides are
    return vector_P


def cut(vector_P: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the vector's pieces, shaped as a model's parameters, in its memory."""
    pieces = torch.split(vector_P, [tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]


def load_flat(model: nn.Module, vector_P: NDArray[np.floating]) -> None:
    """Set the model's parameters from one vector.

    Raises:
        MalformedMessageError: its length is not the model's, or an entry is no finite float32.
    """
    tensors = to_tensors(vector_P, layout_of(model))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # torch knows no tensors that can't be written to, as what came in a message
            parameter.copy_(torch.from_numpy(np.require(tensors[name], requirements="W")))


def to_tensors(vector_P: NDArray[np.floating], layout: Layout) -> dict[str, NDArray[np.float32]]:
    """Return the vector cut into named tensors, which share its memory if it is float32.

    Raises:
        MalformedMessageError: its length is not the layout's, or an entry is no finite float32.
    """
    narrow_P = _checked(vector_P, layout)
    ends = np.cumsum([math.prod(shape) for _, shape in layout])
    pieces = np.split(narrow_P, ends[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(layout, pieces, strict=True)}


def from_tensors(tensors: dict[str, NDArray[np.float32]], layout: Layout) -> NDArray[np.float32]:
    """Return the named tensors joined into one vector.

    Raises:
        MalformedMessageError: names or shapes are not the layout's, or an entry is not finite.
    """
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != dict(layout):
        raise MalformedMessageError(f"tensors must be {dict(layout)}, got {found}")
    return _checked(np.concatenate([tensors[name].ravel() for name, _ in layout]), layout)


def finite_floats(vector_P: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the vector, or a part of it, as float32; it is the same memory if it is already.

    Raises:
        MalformedMessageError: an entry is no finite float32.
    """
    with np.errstate(over="ignore"):  # a float64 too large for float32 is named below
        narrow_P = vector_P.astype(np.float32, copy=False)
    if not np.isfinite(narrow_P).all():
        raise MalformedMessageError("parameters must be finite float32 numbers")
    return narrow_P


def _checked(vector_P: NDArray[np.floating], layout: Layout) -> NDArray[np.float32]:
    expected = (num_parameters(layout),)
    if vector_P.shape != expected:
        raise MalformedMessageError(f"parameters must have shape {expected}, got {vector_P.shape}")
    return finite_floats(vector_P)
