"""The constants that all sites train with: right where patients are many, usual where noise hides them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fed_common.errors import ConfigError
from fed_common.plans import Normalisation, StatisticsTerms
from fed_common.statistics import PART, PatientCounts, class_unit


def counts_of(
    classes: list[float], greys: list[float] | None = None, *, class_std: float = 1.0, grey_std: float = 1.0
) -> PatientCounts:
    return PatientCounts(
        classes_K=np.array(classes),
        greys_B=np.array(greys or [100.0, 0.0]),
        class_std=class_std,
        grey_std=grey_std,
    )


def test_a_released_vector_is_patients_with_their_noise() -> None:
    terms = StatisticsTerms(noise_multiplier=8.0, classes=3, several_labels=True, bins=2)
    values = np.array([3.0, 0.0, 0.0, PART, 2 * PART]) * np.array([class_unit(terms)] * 3 + [1.0] * 2)
    counts = PatientCounts.from_vector(values, terms)
    assert counts.classes_K.tolist() == pytest.approx([3, 0, 0])
    assert counts.greys_B.tolist() == pytest.approx([1, 2])
    assert counts.class_std == pytest.approx(8 * 6**0.5)
    assert counts.grey_std == pytest.approx(8 * 2**0.5)


def test_two_sites_add_up_and_so_do_their_variances() -> None:
    both = counts_of([1, 2], class_std=3.0) + counts_of([10, 20], class_std=4.0)
    assert (both.classes_K.tolist(), both.class_std) == ([11, 22], 5.0)
    assert both.grey_std == pytest.approx(2**0.5)


def test_mean_and_spread_are_those_of_the_greys() -> None:
    half_and_half = counts_of([1, 1], [0.0, 500.0, 0.0, 500.0]).normalisation()
    assert half_and_half == Normalisation(mean=0.625, spread=0.25)


@pytest.mark.parametrize(
    ("greys", "mean", "spread"),
    [
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e6], 0.95, 0.05),
        ([1e6] + [0.0] * 11, 0.05, 0.05),
        ([1e6, *[-1e5] * 10, 1e6], 0.5, 0.5),
    ],
)
def test_no_site_can_push_them_beyond_sane_bounds(greys: list[float], mean: float, spread: float) -> None:
    measured = counts_of([1, 1], greys).normalisation()
    assert measured == Normalisation(mean=mean, spread=spread)


def test_noise_that_hides_the_patients_or_their_mean_gives_no_normalisation() -> None:
    greys = [20.0, 10.0, 5.0, 5.0]
    assert counts_of([1, 1], greys, grey_std=1.0).normalisation() is not None
    assert counts_of([1, 1], greys, grey_std=8.0).normalisation() is None  # how far the mean is
    assert counts_of([1, 1], greys, grey_std=11.0).normalisation() is None  # how many there are
    assert counts_of([1, 1], [-40.0, 0.0]).normalisation() is None


def test_rare_classes_weigh_more_and_the_mean_patient_weighs_1() -> None:
    weights = counts_of([300, 100]).class_weights(several_labels=False)
    assert weights == (round(2 / 3, 4), 2.0)
    assert 300 * weights[0] + 100 * weights[1] == pytest.approx(400, abs=0.1)


def test_with_several_labels_the_mean_class_weighs_1() -> None:
    assert counts_of([300, 100]).class_weights(several_labels=True) == (0.5, 1.5)


@given(st.lists(st.floats(-1e3, 1e7), min_size=2, max_size=64), st.booleans())
def test_weights_are_within_bounds_whatever_is_counted(classes: list[float], several_labels: bool) -> None:
    weights = counts_of(classes, class_std=20.0).class_weights(several_labels=several_labels)
    assert len(weights) in (0, len(classes))
    assert all(0.01 <= weight <= 100 for weight in weights)
    if weights:
        assert max(weights) / min(weights) <= 25 * 1.01


def test_where_all_classes_are_few_there_are_no_weights() -> None:
    assert counts_of([30, 10], class_std=20.0).class_weights(several_labels=False) == ()


def test_counts_below_two_standard_deviations_are_few() -> None:
    counts = counts_of([40.0, 39.9, -5.0], [900.0, 39.0, 61.0], class_std=20.0, grey_std=20.0)
    assert counts.classes() == (40, None, None)
    assert counts.class_margin() == 39
    assert counts.grey_shares() == (0.9, None, 0.061)
    assert counts.grey_margin() == 0.0392


def test_greys_of_hidden_patients_are_all_few() -> None:
    counts = counts_of([1, 1], [30.0, 30.0], grey_std=30.0)
    assert (counts.grey_shares(), counts.grey_margin()) == ((None, None), None)


@pytest.mark.parametrize(
    "wrong", [{"mean": -0.1}, {"mean": 1.1}, {"mean": np.nan}, {"spread": 0.0}, {"spread": np.nan}]
)
def test_a_normalisation_that_no_picture_has_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Normalisation(**wrong)
