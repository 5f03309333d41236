"""Cells whose scores are drawn instead of trained."""

import numpy as np

from fed_sim.experiments.cell import PUBLIC, Arm, Cell, Measured, PatientScores


def scores(
    *, where: str = PUBLIC, patients: str = "p", count: int = 80, skill: float = 1.0, seed: int = 0
) -> PatientScores:
    """Return scores of `count` patients, half of them positive; `skill` is how far these score higher."""
    rng = np.random.default_rng(seed)
    positive_M = np.arange(count) % 2 == 1
    scores_M = rng.normal(size=count) + skill * positive_M
    return PatientScores(
        where=where,
        patients=patients,
        scores_M=scores_M,
        positive_M=positive_M,
        right_M=((scores_M > skill / 2) == positive_M).astype(float),
    )


def measured(
    *placed: PatientScores,
    arm: Arm = "federated",
    method: str = "together",
    hospital: str = "",
    seed: int = 1,
    epsilon: float = 8.0,
    personal: bool = False,
) -> Measured:
    cell = Cell(
        study="play",
        arm=arm,
        method=method if arm == "federated" else "",
        epsilon=epsilon,
        hospital=hospital,
        seed=seed,
    )
    return Measured(cell=cell, personal=personal, scores=placed, seconds=1.5, commit="abc")
