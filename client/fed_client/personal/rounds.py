"""How a round trains the shared model and what is personal beside it, method by method.

`train` makes private steps from the weights it is given and returns how far they moved; every step was
charged before. `own_P` is what the site kept of the last round that it trained in, None before the first.
"""

# Shape letters: P parameters of the flattened model.

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fed_client.algorithms.correction import Correction, correction_of, draw_to
from fed_common.personal_methods import Apfl, Ditto
from fed_common.plans import TrainTerms

Weights = NDArray[np.float32] | NDArray[np.float64]
Train = Callable[[Weights, TrainTerms, Correction | None], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """How far a round moves the shared model, and what the site keeps for itself."""

    shared_P: NDArray[np.float64]
    own_P: NDArray[np.float64] | None


class PersonalRound(Protocol):
    """One method in one round."""

    def train(
        self, received_P: NDArray[np.float32], terms: TrainTerms, train: Train, correction: Correction | None
    ) -> Trained:
        """Return what the steps that the terms ask for give."""
        ...

    def measured(self, received_P: NDArray[np.float32]) -> Weights:
        """Return the model that the site uses, and measures."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedAlone:
    """Nothing is personal."""

    def train(
        self, received_P: NDArray[np.float32], terms: TrainTerms, train: Train, correction: Correction | None
    ) -> Trained:
        """Return the update."""
        return Trained(shared_P=train(received_P, terms, correction), own_P=None)

    def measured(self, received_P: NDArray[np.float32]) -> Weights:
        """Return the shared model."""
        return received_P


@dataclass(frozen=True, kw_only=True, eq=False)
class WithLocalLayers:
    """FedBN, FedPer and FedRep: the parameters in `local_P` are the site's own (`fed_common.personal`)."""

    local_P: NDArray[np.bool_]
    head_steps: int
    own_P: NDArray[np.float32] | None

    def train(
        self, received_P: NDArray[np.float32], terms: TrainTerms, train: Train, correction: Correction | None
    ) -> Trained:
        """Return the update, zero in the site's own coordinates, and what these have become."""
        start_P = self.measured(received_P)
        if self.head_steps:
            # Named here, or the method's own would be left out for the one that holds.
            correction = self._held(correction or correction_of(terms.method, start_P.astype(np.float32)))
        moved_P = train(start_P, terms, correction)
        return Trained(shared_P=np.where(self.local_P, 0.0, moved_P), own_P=start_P + moved_P)

    def measured(self, received_P: NDArray[np.float32]) -> Weights:
        """Return the shared model with the site's own layers."""
        return received_P if self.own_P is None else np.where(self.local_P, self.own_P, received_P)

    def _held(self, correction: Correction | None) -> Correction:
        """Return the correction, and hold all but the head in the first steps, and the head in the others."""

        def held(
            step: int, block: slice, change_P: NDArray[np.float64], weights_P: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            if correction is not None:
                change_P = correction(step, block, change_P, weights_P)
            return np.where(self.local_P[block] == (step < self.head_steps), change_P, 0.0)

        return held


@dataclass(frozen=True, kw_only=True, eq=False)
class DittoRound:
    """Ditto: the site's own model is drawn to the shared one as it came, and goes on from where it was."""

    asked: Ditto
    own_P: NDArray[np.float32] | None

    def train(
        self, received_P: NDArray[np.float32], terms: TrainTerms, train: Train, correction: Correction | None
    ) -> Trained:
        """Return the update, and the own model after its steps."""
        shared_P = train(received_P, terms, correction)
        own_P = self.measured(received_P)
        steps = _own_steps(terms, steps=self.asked.steps, learning_rate=terms.learning_rate)
        return Trained(
            shared_P=shared_P, own_P=own_P + train(own_P, steps, draw_to(received_P, mu=self.asked.mu))
        )

    def measured(self, received_P: NDArray[np.float32]) -> Weights:
        """Return the own model."""
        return received_P if self.own_P is None else self.own_P


@dataclass(frozen=True, kw_only=True, eq=False)
class ApflRound:
    """APFL: v, the site's own, moves by the gradient of the mixture alpha v + (1 - alpha) w.

    By the chain rule that is alpha times the gradient at the mixture, and a step of v moves the mixture by
    alpha times its length: so the mixture takes plain steps of the rate alpha ** 2 times that of v.
    """

    asked: Apfl
    own_P: NDArray[np.float32] | None

    def train(
        self, received_P: NDArray[np.float32], terms: TrainTerms, train: Train, correction: Correction | None
    ) -> Trained:
        """Return the update, and v after its steps."""
        shared_P = train(received_P, terms, correction)
        alpha = self.asked.alpha
        steps = _own_steps(terms, steps=terms.dp.steps, learning_rate=alpha**2 * terms.learning_rate)
        moved_P = train(self.measured(received_P), steps, None)
        before_P = received_P if self.own_P is None else self.own_P
        return Trained(shared_P=shared_P, own_P=before_P + moved_P / alpha)

    def measured(self, received_P: NDArray[np.float32]) -> Weights:
        """Return the mixture."""
        if self.own_P is None:
            return received_P
        return received_P + self.asked.alpha * (self.own_P.astype(np.float64) - received_P)


def _own_steps(terms: TrainTerms, *, steps: int, learning_rate: float) -> TrainTerms:
    """Return the terms of steps that are no part of the shared model's."""
    return replace(
        terms, dp=replace(terms.dp, steps=steps), learning_rate=learning_rate, method=None, personal=None
    )
