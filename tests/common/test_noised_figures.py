"""Figures from noised counts follow their definitions; their intervals hold the truth 95 times in 100."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fed_common.metrics import Estimate, EvaluationCounts, exact_auc
from fed_common.noised_figures import NoisedFigures, noised_figures

Scores = tuple[NDArray[np.float64], NDArray[np.bool_]]
FIGURES = (
    "auc",
    "accuracy",
    "sensitivity",
    "specificity",
    "calibration_gap",
    "calibration_error",
)


def sharp(rng: np.random.Generator, patients: int) -> Scores:
    """Return scores that tell most of the sick, and overstate."""
    positive_N = rng.random(patients) < 0.4
    return 1 / (1 + np.exp(-rng.normal(np.where(positive_N, 1.6, -1.2), 1.2))), positive_N


def calibrated(rng: np.random.Generator, patients: int) -> Scores:
    """Return scores of which each is the chance of being sick."""
    scores_N = rng.beta(1.0, 1.5, patients)
    return scores_N, rng.random(patients) < scores_N


def truth_of(draw: Callable[[np.random.Generator, int], Scores]) -> dict[str, float]:
    """Return the figures of a million patients by their definitions."""
    scores_N, positive_N = draw(np.random.default_rng(0), 1_000_000)
    healthy_N, sick_N = scores_N[~positive_N], scores_N[positive_N]
    fifth_N = np.minimum((scores_N * 5).astype(int), 4)
    gaps = [(scores_N - positive_N)[fifth_N == group].sum() for group in range(5)]
    return {
        "auc": exact_auc(scores_N[:50_000], positive_N[:50_000]).value,
        "accuracy": float(np.mean((scores_N >= 0.5) == positive_N)),
        "sensitivity": float(np.mean(sick_N > np.quantile(healthy_N, 0.9))),
        "specificity": float(np.mean(healthy_N < np.quantile(sick_N, 0.1))),
        "calibration_gap": float(scores_N.mean() - positive_N.mean()),
        "calibration_error": float(np.abs(gaps).sum() / len(scores_N)),
    }


def noised(scores: Scores, std: float, rng: np.random.Generator) -> EvaluationCounts:
    vector = EvaluationCounts.of_scores(*scores, bins=20).to_vector()
    return EvaluationCounts.from_vector(vector + rng.normal(0, std, vector.size), noise_std=std)


def holds(figures: NoisedFigures, name: str, truth: float) -> bool | None:
    estimate: Estimate | None = getattr(figures, name)
    return None if estimate is None else estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("draw", [sharp, calibrated])
def test_the_intervals_hold_the_truth_and_without_the_noise_they_would_not(
    draw: Callable[[np.random.Generator, int], Scores],
) -> None:
    truth, rng = truth_of(draw), np.random.default_rng(7)
    released = [noised(draw(rng, 600), 3.4, rng) for _ in range(250)]
    with_noise = [noised_figures(counts) for counts in released]
    without = [noised_figures(replace(counts, noise_std=0.0)) for counts in released]
    for name in FIGURES:
        held = [held for f in with_noise if (held := holds(f, name, truth[name])) is not None]
        assert len(held) > 240, name
        # The standard error of 95 % in 250 draws is 1.4 %.
        assert 0.92 <= np.mean(held) <= 0.985, name
        assert np.mean([holds(f, name, truth[name]) is True for f in without]) < 0.91, name


def test_counts_without_noise_give_the_exact_figures() -> None:
    scores = sharp(np.random.default_rng(2), 20_000)
    counts = EvaluationCounts.of_scores(*scores, bins=100)
    figures = noised_figures(counts)
    truth = truth_of(sharp)
    for name in FIGURES:
        estimate = getattr(figures, name)
        assert estimate.value == pytest.approx(truth[name], abs=0.02), name
        assert estimate.high - estimate.low < 0.06, name
    assert figures.auc is not None
    assert figures.auc.value == pytest.approx(exact_auc(*scores).value, abs=0.001)


def test_healthy_and_sick_in_one_bin_are_ties_and_count_one_half() -> None:
    # By hand: 300 x 100 pairs won, 100 x 100 + 300 x 300 tied of 400 x 400 pairs, the rest lost.
    counts = EvaluationCounts(
        negatives_B=np.array([300.0, 100.0]), positives_B=np.array([300.0, 100.0]), noise_std=0.0
    )
    figures = noised_figures(counts)
    assert figures.auc is not None
    assert figures.auc.value == (3 + (1 + 9) / 2) / 16


def test_the_reliability_of_calibrated_scores_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(3)
    groups = noised_figures(noised(calibrated(rng, 3000), 2.0, rng)).reliability
    assert [round(group.score, 1) for group in groups] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert sum(group.positive.low <= group.score <= group.positive.high for group in groups) >= 4


def test_few_patients_and_much_noise_show_nothing() -> None:
    rng = np.random.default_rng(5)
    assert noised_figures(noised(sharp(rng, 20), 4.0, rng)) == NoisedFigures()


def test_a_figure_that_may_be_a_quarter_off_is_not_given() -> None:
    rng = np.random.default_rng(6)
    figures = noised_figures(noised(sharp(rng, 300), 7.0, rng))
    assert figures.auc is not None and figures.sensitivity is None


def test_equal_counts_give_equal_figures() -> None:
    counts = noised(sharp(np.random.default_rng(8), 400), 2.0, np.random.default_rng(9))
    assert noised_figures(counts) == noised_figures(counts)
