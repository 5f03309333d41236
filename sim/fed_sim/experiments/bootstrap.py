"""Intervals that know both chances: which patients a test happens to have, and how a seed happens to fall.

A figure is redrawn many times: seeds with replacement, and within each the patients of both truths. Scores of
the same patients are redrawn alike, by whatever model and in whatever seed, so that differences are paired.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), sections 6.4, 8.2 and 13.3.
"""

# Shape letters: M patients, R redrawings, S seeds, P positive and Q negative patients.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fed_common.metrics import Estimate
from fed_common.seeds import stream
from fed_sim.experiments.cell import PatientScores

REDRAWINGS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Redrawn:
    """A figure of certain patients: as it is, then of every redrawing (1 + R); NaN where it isn't defined."""

    patients: str
    figures_R: NDArray[np.float64]

    def __sub__(self, other: "Redrawn") -> "Redrawn":
        """Return the difference on the same redrawings of the same patients."""
        return replace(self, figures_R=self.figures_R - other.figures_R)


def auc(scores: PatientScores) -> Redrawn:
    """Return the area under the ROC curve."""
    if scores.positive_M.all() or not scores.positive_M.any():
        return Redrawn(patients=scores.patients, figures_R=np.full(1 + REDRAWINGS, np.nan))
    counts_RM = _counts(scores.patients, scores.positive_M.tobytes())
    order_M = np.argsort(scores.scores_M, kind="stable")
    sorted_M = scores.scores_M[order_M]
    positives_RM = (counts_RM * scores.positive_M)[:, order_M]
    negatives_RM = (counts_RM * ~scores.positive_M)[:, order_M]
    # Of each positive: the negatives that score less, and half of those that score the same.
    below_RM = np.concatenate((np.zeros((len(counts_RM), 1)), np.cumsum(negatives_RM, axis=1)), axis=1)
    first_M = np.searchsorted(sorted_M, sorted_M, side="left")
    behind_M = np.searchsorted(sorted_M, sorted_M, side="right")
    wins_RM = (below_RM[:, first_M] + below_RM[:, behind_M]) / 2
    wins_R: NDArray[np.float64] = (positives_RM * wins_RM).sum(axis=1)
    pairs_R = positives_RM.sum(axis=1) * negatives_RM.sum(axis=1)
    return Redrawn(patients=scores.patients, figures_R=wins_R / pairs_R)


def accuracy(scores: PatientScores) -> Redrawn:
    """Return the mean share of right answers."""
    counts_RM = _counts(scores.patients, scores.positive_M.tobytes())
    return Redrawn(patients=scores.patients, figures_R=counts_RM @ scores.right_M / len(scores.right_M))


def mean_of(values: Sequence[Redrawn]) -> Redrawn:
    """Return the mean of figures of the same patients, by several models."""
    return replace(values[0], figures_R=np.mean([value.figures_R for value in values], axis=0))


def over_seeds(values: Sequence[Redrawn]) -> Estimate | None:
    """Return the mean over seeds, one value each, with its 95 % interval; None where it isn't defined.

    Seeds whose tests are the same patients take the same redrawing of these.
    """
    defined = [value for value in values if np.isfinite(value.figures_R).all()]
    if not defined:
        return None
    values_SR = np.stack([value.figures_R for value in defined])
    tests = sorted({value.patients for value in defined})
    test_S = np.array([tests.index(value.patients) for value in defined])
    rng = stream(0, "seeds")
    seed_RS = rng.integers(0, len(defined), (REDRAWINGS, len(defined)))
    redrawing_RT = rng.integers(1, 1 + REDRAWINGS, (REDRAWINGS, len(tests)))
    redrawing_RS = np.take_along_axis(redrawing_RT, test_S[seed_RS], axis=1)
    means_R = values_SR[seed_RS, redrawing_RS].mean(axis=1)
    low, high = np.quantile(means_R, (0.025, 0.975))
    return Estimate(value=float(values_SR[:, 0].mean()), low=float(low), high=float(high))


@lru_cache(maxsize=8)
def _counts(patients: str, truths: bytes) -> NDArray[np.float64]:
    """Return how often each patient counts (1 + R, M): all once, then as many of each truth as there are."""
    positive_M = np.frombuffer(truths, dtype=bool)
    rng = stream(0, f"patients/{patients}")
    counts_RM = np.ones((1 + REDRAWINGS, len(positive_M)), dtype=np.float64)
    for truth in (True, False):
        places = np.flatnonzero(positive_M == truth)
        if len(places):
            shares = np.full(len(places), 1 / len(places))
            counts_RM[1:, places] = rng.multinomial(len(places), shares, size=REDRAWINGS)
    return counts_RM
