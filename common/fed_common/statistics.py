"""Which public constants all sites train with, measured on all their patients and betraying none of them.

One patient adds a vector of length 1 at most to what a site releases, however many images there are and
whatever is in them, so that noise of `noise_multiplier` is the Gaussian mechanism of the accountants:

    classes   sqrt(1/2) in the patient's class; with several labels sqrt(1/2 / m) in each that any image
              shows, m = min(K, 4), and who shows more than m adds sqrt(1/2) in all
    greys     sqrt(1/2) times the mean histogram of the patient's images, whose sum is 1

See decision 0009.
"""

# Shape letters: K classes, B equal steps of grey from black to white.

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fed_common.metrics import Z_95
from fed_common.plans import Normalisation, StatisticsTerms

# The length of each of the two parts; together they are 1.
PART = sqrt(0.5)

# With several labels: more classes per patient would need more noise in every class.
_MOST_LABELS = 4

# A count below so many standard deviations of its noise is called few, and says nothing.
_FEW = 2.0

# A mean known worse than this is no better than the usual one.
_LARGEST_MEAN_ERROR = 0.05


def class_unit(terms: StatisticsTerms) -> float:
    """Return what a patient adds to the entry of a class."""
    return PART / sqrt(min(terms.classes, _MOST_LABELS)) if terms.several_labels else PART


@dataclass(frozen=True, kw_only=True)
class PatientCounts:
    """How many patients show each class and each grey; additive over sites.

    The counts carry Gaussian noise of standard deviation `class_std` and `grey_std`, also in patients. A
    patient is spread over the greys of his images, so that these counts add up to all patients.
    """

    classes_K: NDArray[np.float64]
    greys_B: NDArray[np.float64]
    class_std: float
    grey_std: float

    @classmethod
    def from_vector(cls, values: NDArray[np.float64], terms: StatisticsTerms) -> "PatientCounts":
        """Return the counts in a released vector."""
        unit = class_unit(terms)
        return cls(
            classes_K=values[: terms.classes] / unit,
            greys_B=values[terms.classes :] / PART,
            class_std=terms.noise_multiplier / unit,
            grey_std=terms.noise_multiplier / PART,
        )

    def __add__(self, other: "PatientCounts") -> "PatientCounts":
        """Add two sites' counts; their noises are independent."""
        return PatientCounts(
            classes_K=self.classes_K + other.classes_K,
            greys_B=self.greys_B + other.greys_B,
            class_std=sqrt(self.class_std**2 + other.class_std**2),
            grey_std=sqrt(self.grey_std**2 + other.grey_std**2),
        )

    def classes(self) -> tuple[int | None, ...]:
        """Return the patients of each class, None where they are few."""
        return tuple(
            round(count) if count >= _FEW * self.class_std else None for count in self.classes_K.tolist()
        )

    def grey_shares(self) -> tuple[float | None, ...]:
        """Return the share of each grey in the images, None where it is that of few patients."""
        total = self._num_patients()
        return tuple(
            round(count / total, 4) if total and count >= _FEW * self.grey_std else None
            for count in self.greys_B.tolist()
        )

    def class_margin(self) -> int:
        """Return the 95 % margin of a class's count, in patients."""
        return round(Z_95 * self.class_std)

    def grey_margin(self) -> float | None:
        """Return the 95 % margin of a grey's share, None where the noise hides all patients."""
        total = self._num_patients()
        return round(Z_95 * self.grey_std / total, 4) if total else None

    def normalisation(self) -> Normalisation | None:
        """Return mean and standard deviation of the greys, each patient once; None where noise hides them.

        Both stay within what a usable picture can have, whatever a site sends.
        """
        total = self._num_patients()
        if total is None:
            return None
        greys_B = (np.arange(len(self.greys_B)) + 0.5) / len(self.greys_B)
        mean = float(greys_B @ self.greys_B) / total
        if not self.grey_std * float(np.linalg.norm(greys_B - mean)) <= _LARGEST_MEAN_ERROR * total:
            return None
        variance = float((greys_B - mean) ** 2 @ self.greys_B) / total
        return Normalisation(
            mean=round(min(max(mean, 0.05), 0.95), 4),
            spread=round(min(sqrt(max(variance, 0.0)), 0.5), 4) if variance > 0.05**2 else 0.05,
        )

    def class_weights(self, *, several_labels: bool) -> tuple[float, ...]:
        """Return a factor for each class, the larger the rarer it is; none where noise hides all classes.

        Each is between 0.2 and 5 before all are scaled so that the loss stays as large as without them: their
        mean is 1, over patients where each has one class, over classes where each adds to every loss.
        """
        few = max(1.0, _FEW * self.class_std)
        if not (self.classes_K >= few).any():
            return ()
        counts_K = np.maximum(self.classes_K, few)
        shares_K = np.full(len(counts_K), 1 / len(counts_K)) if several_labels else counts_K / counts_K.sum()
        rarity_K = 1 / counts_K
        weights_K = np.clip(rarity_K / (shares_K @ rarity_K), 0.2, 5.0)
        return tuple(round(weight, 4) for weight in (weights_K / (shares_K @ weights_K)).tolist())

    def _num_patients(self) -> float | None:
        """Return the number of patients, None where the noise hides it."""
        total = float(self.greys_B.sum())
        return total if total >= max(1.0, _FEW * self.grey_std * sqrt(len(self.greys_B))) else None
