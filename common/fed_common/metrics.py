"""How well a model tells sick from healthy: exact figures with intervals, and counts as they are released.

Letters: B score bins of equal width over [0, 1], N patients, R redrawn histograms.
"""

from dataclasses import dataclass
from functools import cache
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import DataError

Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class EvaluationCounts:
    """How many patients of each truth fell into each score bin; additive over sites.

    `noise_std` is the standard deviation of the Gaussian noise in each entry of the released vector (0 for
    exact counts). That vector is not the counts but what `root_of_running_sums` makes of each class.
    """

    negatives_B: NDArray[np.float64]
    positives_B: NDArray[np.float64]
    noise_std: float

    @classmethod
    def of_scores(
        cls, scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_], *, bins: int
    ) -> "EvaluationCounts":
        """Count exact scores in [0, 1], one per patient."""
        bin_N = np.clip((scores_N * bins).astype(np.int64), 0, bins - 1)
        return cls(
            negatives_B=np.bincount(bin_N[~positive_N], minlength=bins).astype(np.float64),
            positives_B=np.bincount(bin_N[positive_N], minlength=bins).astype(np.float64),
            noise_std=0.0,
        )

    def __add__(self, other: "EvaluationCounts") -> "EvaluationCounts":
        """Add two sites' counts; their noises are independent."""
        return EvaluationCounts(
            negatives_B=self.negatives_B + other.negatives_B,
            positives_B=self.positives_B + other.positives_B,
            noise_std=sqrt(self.noise_std**2 + other.noise_std**2),
        )

    def to_vector(self) -> NDArray[np.float64]:
        """Return what is released before noise, negatives first; one patient changes its length by 1."""
        root_BB = root_of_running_sums(len(self.negatives_B))
        return np.concatenate((root_BB @ self.negatives_B, root_BB @ self.positives_B))

    @classmethod
    def from_vector(cls, released: NDArray[np.float64], *, noise_std: float) -> "EvaluationCounts":
        """Return the counts in a released vector; with noise they can be negative."""
        inverse_BB = np.linalg.inv(root_of_running_sums(len(released) // 2))
        negatives_B, positives_B = (inverse_BB @ part_B for part_B in np.split(released, 2))
        return cls(negatives_B=negatives_B, positives_B=positives_B, noise_std=noise_std)

    def noised(self, counts_RB: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return other counts of a class with noise as these carry it; for what is public already."""
        inverse_BB = np.linalg.inv(root_of_running_sums(counts_RB.shape[1]))
        noised_RB: NDArray[np.float64] = (
            counts_RB + rng.normal(0.0, self.noise_std, counts_RB.shape) @ inverse_BB.T
        )
        return noised_RB

    def show_patients(self) -> bool:
        """Tell whether the noise leaves it certain that there are patients of both truths."""
        inverse_BB = np.linalg.inv(root_of_running_sums(len(self.negatives_B)))
        total_std = self.noise_std * float(np.linalg.norm(inverse_BB.sum(axis=0)))
        floor = max(1.0, 2 * total_std)
        return bool(self.negatives_B.sum() >= floor and self.positives_B.sum() >= floor)


@cache
def root_of_running_sums(bins: int) -> NDArray[np.float64]:
    """Return the matrix whose square adds up a histogram's bins from below, scaled to columns of length 1.

    A patient, who is in one bin, moves what it makes of a histogram by a vector of length 1 at most, as he
    moves the histogram itself. But running sums, of which every figure is made, can be had back from it with
    far less noise: that of all bins together grows with log(bins) instead of bins. Not to be written to.

    Source: Fichtenberger, Henzinger and Upadhyay, "Constant matters" (2023), section 3.
    """
    entries_B = np.array([comb(2 * k, k) / 4**k for k in range(bins)])
    lag_BB = np.arange(bins)[:, None] - np.arange(bins)
    root_BB: NDArray[np.float64] = np.where(lag_BB >= 0, entries_B[np.abs(lag_BB)], 0.0)
    return root_BB / float(np.linalg.norm(entries_B))


def exact_auc(scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_]) -> Estimate:
    """Return the area under the ROC curve with DeLong's interval (DeLong et al. 1988).

    Raises:
        DataError: one of the two classes is missing.
    """
    positives, negatives = scores_N[positive_N], scores_N[~positive_N]
    if len(positives) == 0 or len(negatives) == 0:
        raise DataError("AUC needs positive and negative examples; one class is missing")
    ranked = np.sort(negatives)
    below = np.searchsorted(ranked, positives, side="left")
    ties = np.searchsorted(ranked, positives, side="right") - below
    wins_of_positive = (below + ties / 2) / len(negatives)
    ranked = np.sort(positives)
    not_above = np.searchsorted(ranked, negatives, side="right")
    ties = not_above - np.searchsorted(ranked, negatives, side="left")
    wins_over_negative = (len(positives) - not_above + ties / 2) / len(positives)
    variance = _variance_of_mean(wins_of_positive) + _variance_of_mean(wins_over_negative)
    return _interval(float(wins_of_positive.mean()), variance)


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.25


def _interval(value: float, variance: float) -> Estimate:
    half = Z_95 * sqrt(max(variance, 0.0))
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half))
