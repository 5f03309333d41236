"""What follows the clipped sum of a private step: noise, the public divisor, and the move of the weights."""

# Shape letters: P parameters of the flattened model, or a piece of them.

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.algorithms.correction import Correction
from fed_client.device_descent import DeviceDescent, stays_on_device
from fed_client.loops.moving import move, noised_mean
from fed_client.parameter_memory import ParameterMemory, Piece
from fed_client.private_step import BookkeepingStep, PatientBatch, PrivateStep
from fed_client.private_step.step import Sums, added
from fed_common.errors import MalformedMessageError
from fed_common.layout import cut
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness

Mapping = Callable[[Callable[[list[Piece]], None], Iterable[list[Piece]]], Iterator[None]]


class Descent(Protocol):
    """One round's way down, in private steps of the model itself."""

    @property
    def numbers_at_once(self) -> int:
        """Return how many numbers of input a physical batch may have."""
        ...

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        ...


@contextmanager
def descent_of(  # noqa: PLR0913 (a round's, which `train_privately` explains)
    model: nn.Module,
    step: PrivateStep,
    terms: TrainTerms,
    *,
    divisor: float,
    correction: Correction | None,
    randomness: Randomness,
    noise_threads: int,
) -> Iterator[Descent]:
    """Yield the fastest way down for where `step` has its sums; a `correction` is made on the processor."""
    if correction is None and stays_on_device(step, randomness):
        yield DeviceDescent(model, step, terms, divisor=divisor)
        return
    with _mapping(noise_threads) as over:
        yield HostDescent(
            model, step, terms, divisor=divisor, correction=correction, randomness=randomness, over=over
        )


class HostDescent:
    """Goes down in the processor's memory, piece by piece, each parameter where it is."""

    # A network's maps take some hundred times its input, and are faster in the processor's cache.
    numbers_at_once = 1 << 19

    def __init__(  # noqa: PLR0913 (see `descent_of`)
        self,
        model: nn.Module,
        step: PrivateStep,
        terms: TrainTerms,
        *,
        divisor: float,
        correction: Correction | None,
        randomness: Randomness,
        over: Mapping,
    ) -> None:
        self._step, self._terms = step, terms
        self._divisor, self._correction = divisor, correction
        self._randomness, self._over = randomness, over
        self._steps_taken = 0
        self._memory = ParameterMemory(model.parameters())
        self._velocity_P = np.zeros(self._memory.size if terms.momentum else 0)

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        sums = added(map(self._clipped_sums, batches)) or list(map(torch.zeros_like, self._memory.tensors))
        move = partial(self._move, self._memory.as_runs(sums))
        deque(self._over(move, self._memory.blocks), maxlen=0)  # waits for all, and keeps nothing
        self._steps_taken += 1
        self._memory.follow()

    def _clipped_sums(self, batch: PatientBatch) -> Sums:
        clip_norm, class_weights = self._terms.dp.clip_norm, self._terms.class_weights
        if isinstance(self._step, BookkeepingStep):
            return self._step.clipped_sums(batch, clip_norm=clip_norm, class_weights=class_weights)
        sum_P = self._step.clipped_sum(batch, clip_norm=clip_norm, class_weights=class_weights)
        return cut(torch.from_numpy(sum_P), self._memory.tensors)

    def _move(self, sums: list[NDArray[np.floating]], block: list[Piece]) -> None:
        std = self._terms.dp.noise_std
        drawn_P = self._randomness.gaussian(sum(piece.size for piece in block), std=std)
        start = 0
        for piece in block:
            change_P = noised_mean(
                sums[piece.parameter][piece.memory],
                drawn_P[start : start + piece.size],
                std=std,
                divisor=self._divisor,
            )
            start += piece.size
            weights_P = self._memory.runs[piece.parameter][piece.memory]
            if self._correction is not None:
                change_P = piece.in_memory_order(
                    self._correction(
                        self._steps_taken,
                        piece.place,
                        piece.in_flat_order(change_P),
                        piece.in_flat_order(weights_P.astype(np.float64)),
                    )
                )
            if self._terms.momentum:
                change_P += self._terms.momentum * self._velocity_P[piece.place]
                self._velocity_P[piece.place] = change_P
            if not move(change_P, self._terms.learning_rate, weights_P):
                raise MalformedMessageError("parameters must be finite float32 numbers")


@contextmanager
def _mapping(threads: int) -> Iterator[Mapping]:
    """Yield what maps a function over blocks: for one thread `map`, which keeps the order of the draws."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map
