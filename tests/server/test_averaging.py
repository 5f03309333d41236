"""A published mean is that of its formula, and never loses the iterate that the rounds go on from."""

import numpy as np
import pytest

from fed_server.averaging import Weights

FIRST_P = np.array([1.0, -2.0], dtype=np.float32)


def test_late_iterates_count_in_proportion_to_their_round() -> None:
    moves = np.random.default_rng(0).normal(size=(7, 2))
    iterates = FIRST_P + np.cumsum(moves, axis=0)
    rounds = np.arange(1, 8)

    weights = Weights.first(FIRST_P)
    for number, move_P in zip(rounds.tolist(), moves, strict=True):
        weights = weights.moved(move_P, number=number, averaging="late")

    np.testing.assert_allclose(weights.model_P, rounds @ iterates / rounds.sum(), rtol=1e-6)
    np.testing.assert_allclose(weights.iterate_P, iterates[-1], rtol=1e-6)


def test_without_averaging_the_model_is_the_iterate() -> None:
    weights = Weights.first(FIRST_P).moved(np.array([0.5, 0.5]), number=3, averaging="none")

    assert weights.model_P is weights.iterate_P
    np.testing.assert_allclose(weights.model_P, FIRST_P + 0.5)


def test_weights_can_not_be_changed_once_they_are_some() -> None:
    first_P, second_P, third_P = np.ones((3, 2), dtype=np.float32)
    weights = Weights(model_P=first_P, iterate_P=second_P, memory={"control": third_P})
    for vector_P in (weights.model_P, weights.iterate_P, weights.memory["control"]):
        with pytest.raises(ValueError, match="read-only"):
            vector_P[0] = 2.0
