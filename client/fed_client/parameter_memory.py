"""A model's parameters where they lie, which the flat vector would have to be copied from and to.

Only the flat vector has one order for all kernels. To bring a large network into it and back in each step
takes as long as its noise, and what a step does to a parameter doesn't depend on the order.
"""

# Shape letters: P numbers of a parameter, or of some rows of it.

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# What a step does to a parameter is done while it is in the processor's cache.
_NUMBERS_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some rows of a parameter: where they are in its memory, and where in the flat vector.

    `shape` is theirs in memory; the flat vector has its axes in the order of `axes`.
    """

    parameter: int
    memory: slice
    place: slice
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return how many numbers there are."""
        return math.prod(self.shape)

    def in_flat_order(self, piece_P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what lies as in memory as it lies in the flat vector."""
        return piece_P.reshape(self.shape).transpose(self.axes).ravel()

    def in_memory_order(self, piece_P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what lies as in the flat vector as it lies in memory."""
        flat_shape = [self.shape[axis] for axis in self.axes]
        return piece_P.reshape(flat_shape).transpose(np.argsort(self.axes)).ravel()


class ParameterMemory:
    """The parameters, each as one run of numbers in the order of its own memory.

    A parameter on a GPU has a copy here, which `follow` brings back.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self._parameters = [parameter.detach() for parameter in parameters]
        self.tensors = [parameter.cpu() for parameter in self._parameters]  # on a processor the same memory
        # A view: a parameter that isn't one run of memory is an error.
        self.runs = [one.permute(_axes(one)).view(-1).numpy() for one in self.tensors]
        self.size = sum(run.size for run in self.runs)
        self.blocks = list(_blocks(self.tensors))

    def as_runs(self, tensors: Sequence[torch.Tensor]) -> list[NDArray[Any]]:
        """Return tensors shaped as the parameters in the order of their memory, uncopied if it is theirs."""
        return [
            tensor.permute(_axes(own)).reshape(-1).numpy()
            for tensor, own in zip(tensors, self.tensors, strict=True)
        ]

    def follow(self) -> None:
        """Bring what has changed here to where the parameters are."""
        for parameter, own in zip(self._parameters, self.tensors, strict=True):
            if parameter.device != own.device:
                parameter.copy_(own)


def _axes(parameter: torch.Tensor) -> tuple[int, ...]:
    """Return the axes in memory's order, the one along which it is farthest apart first."""
    if parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        return (0, 2, 3, 1)
    return tuple(range(parameter.dim()))


def _blocks(parameters: list[torch.Tensor]) -> Iterator[list[Piece]]:
    """Yield all pieces, small ones together."""
    block: list[Piece] = []
    for piece in _pieces(parameters):
        if block and sum(one.size for one in block) + piece.size > _NUMBERS_AT_ONCE:
            yield block
            block = []
        block.append(piece)
    yield block


def _pieces(parameters: list[torch.Tensor]) -> Iterator[Piece]:
    start = 0
    for number, parameter in enumerate(parameters):
        axes = _axes(parameter)
        shape = tuple(parameter.shape[axis] for axis in axes)
        rows, numbers = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
        at_once = max(1, _NUMBERS_AT_ONCE // max(1, numbers))
        for first in range(0, rows, at_once):
            end = min(first + at_once, rows)
            yield Piece(
                parameter=number,
                memory=slice(first * numbers, end * numbers),
                place=slice(start + first * numbers, start + end * numbers),
                shape=(end - first, *shape[1:]) if shape else (),
                axes=tuple(map(axes.index, range(len(axes)))),
            )
        start += rows * numbers
