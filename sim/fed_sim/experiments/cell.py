"""One model of a comparison, and how it scores patients: all that is kept of a training."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# Shape letters: M patients.

Arm = Literal["local", "federated", "pooled"]

ARMS: tuple[Arm, ...] = ("local", "federated", "pooled")
PUBLIC = "public test"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Which model: `hospital` is the one that trains alone, `method` what the federation is changed by.

    Both are empty where they don't apply. An infinite epsilon stands for training without privacy.
    """

    study: str
    arm: Arm
    method: str = ""
    epsilon: float
    hospital: str = ""
    seed: int

    @property
    def private(self) -> bool:
        """Tell whether noise is added."""
        return math.isfinite(self.epsilon)

    def __str__(self) -> str:
        """Return the cell in words."""
        who = " ".join(part for part in (self.arm, self.method, self.hospital) if part)
        return f"{self.study}, seed {self.seed}: {who}, {epsilon_in_words(self.epsilon)}"


def epsilon_in_words(epsilon: float) -> str:
    """Return the epsilon as tables and reports name it."""
    return f"epsilon {epsilon:g}" if math.isfinite(epsilon) else "no privacy"


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientScores:
    """A model's score of the positive class and its share of right answers, patient by patient.

    `patients` identifies whom: scores with the same one are of the same patients in the same order. `where`
    is a hospital, whose own test patients they are, or `PUBLIC`.
    """

    where: str
    patients: str
    scores_M: NDArray[np.float64]
    positive_M: NDArray[np.bool_]
    right_M: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A trained cell: its scores, how long it took, and the commit of the code that trained it.

    `personal` tells whether hospitals were judged with models of their own.
    """

    cell: Cell
    personal: bool
    scores: tuple[PatientScores, ...]
    seconds: float
    commit: str

    def at(self, where: str) -> PatientScores | None:
        """Return the scores of the patients there, if there are any."""
        return next((scores for scores in self.scores if scores.where == where), None)
