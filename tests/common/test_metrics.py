"""The figures are those of the literature, and their intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fed_common.errors import DataError
from fed_common.metrics import EvaluationCounts, exact_auc

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


def test_counts_in_many_bins_give_the_exact_auc() -> None:
    scores_N, positive_N = scores_of(np.random.default_rng(2), 200)
    counted = EvaluationCounts.of_scores(scores_N, positive_N, bins=1000).auc()
    assert counted is not None
    assert counted.value == pytest.approx(exact_auc(scores_N, positive_N).value, abs=0.002)


def test_healthy_and_sick_in_one_bin_are_ties_and_count_one_half() -> None:
    # By hand: 3 x 1 pairs won, 1 x 1 + 3 x 3 tied of 4 x 4 pairs, the rest lost.
    counts = EvaluationCounts(
        negatives_B=np.array([3.0, 1.0]), positives_B=np.array([3.0, 1.0]), noise_std=0.0
    )
    auc = counts.auc()
    assert auc is not None and auc.value == (3 + (1 + 9) / 2) / 16


def test_accuracy_is_the_share_on_the_right_side_of_one_half() -> None:
    counts = EvaluationCounts(
        negatives_B=np.array([3.0, 2.0]), positives_B=np.array([1.0, 4.0]), noise_std=0.0
    )
    accuracy = counts.accuracy()
    assert accuracy is not None and accuracy.value == 0.7


def noised(counts: EvaluationCounts, std: float, rng: np.random.Generator) -> EvaluationCounts:
    vector = counts.to_vector()
    return EvaluationCounts.from_vector(vector + rng.normal(0, std, vector.size), noise_std=std)


def test_the_noised_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        counts = noised(EvaluationCounts.of_scores(*scores_of(rng, 150), bins=20), 4.0, rng)
        estimate = counts.auc()
        assert estimate is not None
        held += estimate.low <= TRUE_AUC <= estimate.high
    assert held >= 0.9 * 300


def test_counts_of_two_sites_add_up_and_so_do_their_noises() -> None:
    one = EvaluationCounts(negatives_B=np.ones(2), positives_B=np.zeros(2), noise_std=3.0)
    other = EvaluationCounts(negatives_B=np.ones(2), positives_B=np.full(2, 5.0), noise_std=4.0)
    total = one + other
    assert total.to_vector().tolist() == [2.0, 2.0, 5.0, 5.0]
    assert total.noise_std == 5.0


@pytest.mark.parametrize("patients", [0.0, 10.0, -10.0])
def test_no_figure_is_given_where_the_noise_drowns_the_patients(patients: float) -> None:
    counts = EvaluationCounts(
        negatives_B=np.full(10, patients / 10), positives_B=np.full(10, patients / 10), noise_std=4.0
    )
    assert counts.auc() is None
    assert counts.accuracy() is None


@pytest.mark.parametrize(("score", "bin_number"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.9999, 9), (1.0, 9)])
def test_every_score_falls_into_one_bin(score: float, bin_number: int) -> None:
    counts = EvaluationCounts.of_scores(np.array([score]), np.array([True]), bins=10)
    assert np.flatnonzero(counts.positives_B).tolist() == [bin_number]
    assert counts.to_vector().sum() == 1
