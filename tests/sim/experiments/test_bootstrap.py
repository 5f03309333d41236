"""Intervals hold what the closed forms say, and know which patients and seeds are the same."""

from dataclasses import replace

import numpy as np
import pytest
from tests.sim.experiments.cells import scores

from fed_common.metrics import exact_auc
from fed_sim.experiments.bootstrap import REDRAWINGS, accuracy, auc, mean_of, over_seeds


def test_the_auc_is_the_exact_one_ties_included_and_its_interval_near_delongs() -> None:
    drawn = scores(count=300)
    tied = replace(drawn, scores_M=drawn.scores_M.round(0))
    for one in (drawn, tied):
        exact = exact_auc(one.scores_M, one.positive_M)
        found = over_seeds([auc(one)])

        assert found is not None
        assert found.value == pytest.approx(exact.value, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_accuracy_has_the_interval_of_a_binomial_within_its_classes() -> None:
    one = scores(count=400)
    found = over_seeds([accuracy(one)])

    assert found is not None
    share = [float(one.right_M[one.positive_M == truth].mean()) for truth in (True, False)]
    std = np.sqrt(sum(p * (1 - p) / 200 for p in share)) / 2
    assert found.value == pytest.approx(np.mean(share))
    assert found.high - found.low == pytest.approx(2 * 1.96 * std, rel=0.15)


def test_more_seeds_narrow_an_interval_only_if_they_test_other_patients() -> None:
    def width(*patients: str) -> float:
        found = over_seeds([auc(scores(patients=who)) for who in patients])
        assert found is not None
        return found.high - found.low

    assert width("a", "a", "a", "a") == pytest.approx(width("a"), rel=0.1)
    assert width("a", "b", "c", "d") == pytest.approx(width("a") / 2, rel=0.2)


def test_seeds_that_differ_widen_it() -> None:
    def width(*skills: float) -> float:
        found = over_seeds([auc(scores(count=2000, skill=skill)) for skill in skills])
        assert found is not None
        return found.high - found.low

    assert width(0.2, 2.0) > 3 * width(1.0, 1.0)


def test_two_models_differ_by_less_on_the_same_patients_than_on_others() -> None:
    better, worse = scores(skill=1.1), scores(skill=1.0)
    paired = over_seeds([auc(better) - auc(worse)])
    alike = over_seeds([auc(better) - auc(better)])
    apart = over_seeds([auc(better) - auc(replace(worse, patients="others"))])

    assert paired is not None and apart is not None and alike is not None
    assert (alike.low, alike.high) == (0, 0)
    assert paired.high - paired.low < (apart.high - apart.low) / 3


def test_without_both_truths_there_is_no_auc_and_other_seeds_count_alone() -> None:
    one_class = replace(scores(patients="q"), positive_M=np.ones(80, dtype=bool))

    assert over_seeds([auc(one_class)]) is None
    assert over_seeds([auc(one_class), auc(scores())]) == over_seeds([auc(scores())])
    assert accuracy(one_class).figures_R.shape == (1 + REDRAWINGS,)


def test_models_of_the_same_patients_are_averaged_redrawing_by_redrawing() -> None:
    first, second = auc(scores(skill=0.5)), auc(scores(skill=2.0))

    assert np.allclose(mean_of([first, second]).figures_R, (first.figures_R + second.figures_R) / 2)
