"""What follows the clipped sum of a private step: noise, the public divisor, and the move of the weights."""

# Shape letters: P parameters of the flattened model, or a piece of them.

from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.algorithms.correction import Correction
from fed_client.loops.moving import move
from fed_client.parameter_memory import ParameterMemory, Piece
from fed_client.private_step import BookkeepingStep, PatientBatch, PrivateStep
from fed_client.private_step.step import Sums, added
from fed_client.private_step.torch_threads import over
from fed_common.errors import MalformedMessageError
from fed_common.layout import cut
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness


class Descent(Protocol):
    """One round's way down, in private steps of the model itself."""

    @property
    def numbers_at_once(self) -> int:
        """Return how many numbers of input a physical batch may have."""
        ...

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        ...


class HostDescent:
    """Goes down in the processor's memory, piece by piece, each parameter where it is."""

    # A network's maps take some hundred times its input, and are faster in the processor's cache.
    numbers_at_once = 1 << 19

    def __init__(  # noqa: PLR0913 (a round's, which `train_privately` explains)
        self,
        model: nn.Module,
        step: PrivateStep,
        terms: TrainTerms,
        *,
        divisor: float,
        correction: Correction | None,
        randomness: Randomness,
        noise_threads: int,
    ) -> None:
        self._step, self._terms = step, terms
        self._divisor, self._correction = divisor, correction
        self._randomness, self._noise_threads = randomness, noise_threads
        self._steps_taken = 0
        self._memory = ParameterMemory(model.parameters())
        self._velocity_P = np.zeros(self._memory.size if terms.momentum else 0)

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        sums = added(map(self._clipped_sums, batches)) or list(map(torch.zeros_like, self._memory.tensors))
        move = partial(self._move, self._memory.as_runs(sums))
        over(self._memory.blocks, move, threads=self._noise_threads)
        self._steps_taken += 1
        self._memory.follow()

    def _clipped_sums(self, batch: PatientBatch) -> Sums:
        clip_norm, class_weights = self._terms.dp.clip_norm, self._terms.class_weights
        if isinstance(self._step, BookkeepingStep):
            return self._step.clipped_sums(batch, clip_norm=clip_norm, class_weights=class_weights)
        sum_P = self._step.clipped_sum(batch, clip_norm=clip_norm, class_weights=class_weights)
        return cut(torch.from_numpy(sum_P), self._memory.tensors)

    def _move(self, sums: list[NDArray[np.floating]], block: list[Piece]) -> None:
        exact = [sums[piece.parameter][piece.memory] for piece in block]
        noised_P = exact[0] if len(exact) == 1 else np.concatenate(exact)  # in its place where it is one run
        self._randomness.add_noise(noised_P, std=self._terms.dp.noise_std)
        start = 0
        for piece in block:
            weights_P = self._memory.runs[piece.parameter][piece.memory]
            change_P, rate = self._change(noised_P[start : start + piece.size], piece, weights_P)
            start += piece.size
            if not move(change_P, rate, weights_P):
                raise MalformedMessageError("parameters must be finite float32 numbers")

    def _change(
        self, noised_P: NDArray[np.floating], piece: Piece, weights_P: NDArray[np.float32]
    ) -> tuple[NDArray[np.floating], float]:
        """Return what the weights go down, and how many times that."""
        momentum, rate = self._terms.momentum, self._terms.learning_rate
        if self._correction is None and not momentum:
            return noised_P, rate / self._divisor
        change_P = noised_P.astype(np.float64) / self._divisor
        if self._correction is not None:
            change_P = piece.in_memory_order(
                self._correction(
                    self._steps_taken,
                    piece.place,
                    piece.in_flat_order(change_P),
                    piece.in_flat_order(weights_P.astype(np.float64)),
                )
            )
        if momentum:
            change_P += momentum * self._velocity_P[piece.place]
            self._velocity_P[piece.place] = change_P
        return change_P, rate
