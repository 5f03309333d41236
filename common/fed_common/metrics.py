"""How well a model tells sick from healthy, always with an interval, also where counts carry noise.

Letters: B score bins of equal width over [0, 1], N patients.
"""

from dataclasses import dataclass
from math import sqrt

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

    `noise_std` is the standard deviation of the Gaussian noise in every bin (0 for exact counts).
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
        """Return the histogram as one vector, negatives first."""
        return np.concatenate((self.negatives_B, self.positives_B))

    @classmethod
    def from_vector(cls, counts: NDArray[np.float64], *, noise_std: float) -> "EvaluationCounts":
        """Return the histogram that `to_vector` laid out."""
        bins = len(counts) // 2
        return cls(negatives_B=counts[:bins], positives_B=counts[bins:], noise_std=noise_std)

    def auc(self) -> Estimate | None:
        """Return the area under the ROC curve, or None where noise hides how many patients there are.

        The interval holds both the sampling of patients (Hanley and McNeil 1982) and the noise of the
        counts (first-order propagation). Ties within a bin count one half.
        """
        negatives, positives = float(self.negatives_B.sum()), float(self.positives_B.sum())
        floor = max(1.0, 2 * self.noise_std * sqrt(len(self.negatives_B)))
        if not (negatives >= floor and positives >= floor):
            return None
        below_B = (np.cumsum(self.negatives_B) - self.negatives_B / 2) / negatives
        above_B = (positives - np.cumsum(self.positives_B) + self.positives_B / 2) / positives
        auc = float(np.clip(below_B @ self.positives_B / positives, 0.0, 1.0))
        slopes = np.concatenate(((below_B - auc) / positives, (above_B - auc) / negatives))
        noise = self.noise_std**2 * float(slopes @ slopes)
        return _interval(auc, _hanley_mcneil(auc, positives, negatives) + noise)

    def accuracy(self) -> Estimate | None:
        """Return the share of patients on the right side of a score of one half; None as in `auc`."""
        total = float(self.negatives_B.sum() + self.positives_B.sum())
        bins = len(self.negatives_B)
        if not total >= max(1.0, 2 * self.noise_std * sqrt(2 * bins)):
            return None
        half = bins // 2
        right = float(self.negatives_B[:half].sum() + self.positives_B[half:].sum())
        share = float(np.clip(right / total, 0.0, 1.0))
        noise = self.noise_std**2 * bins * (share**2 + (1 - share) ** 2) / total**2
        return _interval(share, share * (1 - share) / total + noise)


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


def _hanley_mcneil(auc: float, positives: float, negatives: float) -> float:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return spread / (positives * negatives)


def _interval(value: float, variance: float) -> Estimate:
    half = Z_95 * sqrt(max(variance, 0.0))
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half))
