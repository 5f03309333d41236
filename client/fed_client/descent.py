"""What follows the clipped sum of a private step: noise, the public divisor, and the move of the weights."""

# Shape letters: P parameters of the flattened model.

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fed_client.algorithms.correction import Correction
from fed_client.device_descent import DeviceDescent, stays_on_device
from fed_client.loops.moving import move, noised_mean
from fed_client.private_step import PatientBatch, PrivateStep
from fed_common.layout import finite_floats, flatten, load_flat
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness

# What a step does to a parameter is done while it is in the processor's cache.
_PARAMETERS_AT_ONCE = 1 << 17

Mapping = Callable[[Callable[[slice], None], Iterable[slice]], Iterator[None]]


class Descent(Protocol):
    """One round's way down, in private steps; the model follows with the next of them, if not before."""

    @property
    def numbers_at_once(self) -> int:
        """Return how many numbers of input a physical batch may have."""
        ...

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        ...

    def moved(self) -> NDArray[np.float64]:
        """Return how far the flat parameters are from where they began, as memory of the caller's."""
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
    """Goes down in the processor's memory, block by block."""

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
        self._model, self._step, self._terms = model, step, terms
        self._divisor, self._correction = divisor, correction
        self._randomness, self._over = randomness, over
        self._steps_taken = 0
        self._start_P = flatten(model)
        self._moved_P = np.zeros(self._start_P.size)  # `zeros_like` would write to its memory
        self._velocity_P = np.zeros(self._start_P.size if terms.momentum else 0)
        # What the model hasn't got yet. After its last step nobody asks the model.
        self._next_P: NDArray[np.floating] | None = None

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        if self._next_P is not None:
            load_flat(self._model, self._next_P)
            self._next_P = None  # its memory makes room
        sums = (
            self._step.clipped_sum(
                batch, clip_norm=self._terms.dp.clip_norm, class_weights=self._terms.class_weights
            )
            for batch in batches
        )
        sum_P = _added(sums, size=self._start_P.size)
        # The weights as the model gets them; once a block's sum is read, its memory is theirs.
        narrow_P = sum_P if sum_P.dtype == np.float32 else np.empty_like(self._start_P)
        deque(
            self._over(partial(self._move, sum_P, narrow_P), _blocks(sum_P.size)),
            maxlen=0,  # waits for all, and keeps nothing
        )
        self._steps_taken += 1
        self._next_P = narrow_P

    def moved(self) -> NDArray[np.float64]:
        """Return how far the flat parameters are from where they began, as memory of the caller's."""
        return self._moved_P

    def _move(self, sum_P: NDArray[np.floating], narrow_P: NDArray[np.floating], block: slice) -> None:
        std = self._terms.dp.noise_std
        drawn_P = self._randomness.gaussian(sum_P[block].size, std=std)
        change_P = noised_mean(sum_P[block], drawn_P, std=std, divisor=self._divisor)
        if self._correction is not None:
            weights_P = self._start_P[block] + self._moved_P[block]
            change_P = self._correction(self._steps_taken, block, change_P, weights_P)
        if self._terms.momentum:
            change_P += self._terms.momentum * self._velocity_P[block]
            self._velocity_P[block] = change_P
        move(
            change_P,
            self._terms.learning_rate,
            self._start_P[block],
            self._moved_P[block],
            narrow_P[block],
        )
        finite_floats(narrow_P[block])


def _added(parts: Iterator[NDArray[np.floating]], *, size: int) -> NDArray[np.floating]:
    """Return the sum of the parts, the first of which isn't added to zeros: that would take time."""
    sum_P = next(parts, None)
    if sum_P is None:
        return np.zeros(size)
    for part_P in parts:
        sum_P = sum_P.astype(np.float64, copy=False)
        sum_P += part_P
    return sum_P


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + _PARAMETERS_AT_ONCE) for start in range(0, size, _PARAMETERS_AT_ONCE))


@contextmanager
def _mapping(threads: int) -> Iterator[Mapping]:
    """Yield what maps a function over blocks: for one thread `map`, which keeps the order of the draws."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map
