"""The figures are those of the literature, and their intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fed_common.errors import DataError
from fed_common.metrics import EvaluationCounts, exact_auc, root_of_running_sums

# P(positive > negative) for scores N(0, 1) and N(1, 1): Phi(1 / sqrt(2)).
TRUE_AUC = 0.7602


def scores_of(rng: np.random.Generator, patients: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores in [0, 1] of as many healthy as sick patients."""
    positive_N = np.arange(2 * patients) % 2 == 1
    return 1 / (1 + np.exp(-rng.normal(positive_N.astype(float)))), positive_N


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60))
def test_exact_auc_is_sklearns_also_with_ties(pairs: list[tuple[int, bool]]) -> None:
    scores_N = np.array([score for score, _ in pairs], dtype=np.float64)
    positive_N = np.array([positive for _, positive in pairs])
    if positive_N.all() or not positive_N.any():
        with pytest.raises(DataError):
            exact_auc(scores_N, positive_N)
    else:
        estimate = exact_auc(scores_N, positive_N)
        assert estimate.value == pytest.approx(roc_auc_score(positive_N, scores_N))
        assert estimate.low <= estimate.value <= estimate.high


def test_the_exact_interval_holds_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    intervals = [exact_auc(*scores_of(rng, 60)) for _ in range(400)]
    held = np.mean([interval.low <= TRUE_AUC <= interval.high for interval in intervals])
    assert 0.91 <= held <= 0.98


def test_counts_of_two_sites_add_up_and_so_do_their_noises() -> None:
    one = EvaluationCounts(negatives_B=np.ones(2), positives_B=np.zeros(2), noise_std=3.0)
    other = EvaluationCounts(negatives_B=np.ones(2), positives_B=np.full(2, 5.0), noise_std=4.0)
    total = one + other
    assert [*total.negatives_B, *total.positives_B] == [2.0, 2.0, 5.0, 5.0]
    assert total.noise_std == 5.0


@pytest.mark.parametrize(("patients", "show"), [(100.0, True), (10.0, False), (0.0, False), (-100.0, False)])
def test_patients_are_told_from_the_noise_around_none(patients: float, show: bool) -> None:
    counts = EvaluationCounts(
        negatives_B=np.full(10, patients / 10), positives_B=np.full(10, patients / 10), noise_std=4.0
    )
    assert counts.show_patients() == show


@pytest.mark.parametrize("bins", [2, 10, 100])
def test_the_root_of_running_sums_applied_twice_is_running_sums(bins: int) -> None:
    root_BB = root_of_running_sums(bins)
    squared_BB = root_BB @ root_BB
    assert squared_BB / squared_BB[0, 0] == pytest.approx(np.tril(np.ones((bins, bins))))
    # One patient, in one bin, moves what is released by 1 at most.
    assert np.linalg.norm(root_BB, axis=0).max() == pytest.approx(1.0)


def test_what_was_released_gives_the_counts_back() -> None:
    counts = EvaluationCounts(
        negatives_B=np.array([3.0, 0.0, 2.0]), positives_B=np.array([0.0, 1.0, 7.0]), noise_std=0.0
    )
    again = EvaluationCounts.from_vector(counts.to_vector(), noise_std=0.0)
    assert again.negatives_B == pytest.approx(counts.negatives_B)
    assert again.positives_B == pytest.approx(counts.positives_B)


def test_all_patients_together_carry_less_noise_than_the_bins_summed_up() -> None:
    none = EvaluationCounts(negatives_B=np.zeros(20), positives_B=np.zeros(20), noise_std=1.0)
    totals = none.noised(np.zeros((4000, 20)), np.random.default_rng(4)).sum(axis=1)
    assert totals.std() < 2.0 < 20**0.5


@pytest.mark.parametrize(("score", "bin_number"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.9999, 9), (1.0, 9)])
def test_every_score_falls_into_one_bin(score: float, bin_number: int) -> None:
    counts = EvaluationCounts.of_scores(np.array([score]), np.array([True]), bins=10)
    assert np.flatnonzero(counts.positives_B).tolist() == [bin_number]
    assert counts.negatives_B.sum() + counts.positives_B.sum() == 1
