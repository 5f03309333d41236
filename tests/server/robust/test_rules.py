"""Each rule gives what its formula gives in numpy, in whatever order the sites answer."""

import tracemalloc

import numpy as np
import pytest
import scipy.stats
from tests.server.robust.cohorts import combined, contribution, names_of, plan_for

from fed_common import fixedpoint
from fed_server.folding import add_weighted, write_floats, write_weighted_sum
from fed_server.robust.choice import rule_of
from fed_server.robust.coordinates import Median, TrimmedMean
from fed_server.robust.krum import Krum
from fed_server.robust.network import comparators
from fed_server.robust.norm_bounded import NormBoundedMean
from fed_server.robust.sorting import write_middle_means
from fed_server.settings import AggregationTable

RNG = np.random.default_rng(0)
ROBUST = ("median", "trimmed-mean", "krum", "multi-krum", "norm-bounded-mean")


@pytest.mark.parametrize("sites", [3, 4, 10, 13, 20])
@pytest.mark.parametrize("parameters", [1, 511, 1025])
def test_the_median_and_the_trimmed_mean_are_those_of_numpy_and_scipy(sites: int, parameters: int) -> None:
    updates_NP = RNG.normal(size=(sites, parameters))
    median_P = combined(Median(parameters), updates_NP)
    np.testing.assert_allclose(median_P, np.median(updates_NP, axis=0), rtol=1e-6, atol=1e-7)
    trimmed_P = combined(TrimmedMean(parameters, 1), updates_NP)
    expected_P = scipy.stats.trim_mean(updates_NP, 1 / sites + 1e-9, axis=0)
    np.testing.assert_allclose(trimmed_P, expected_P, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("sites", "dishonest"), [(5, 1), (7, 2), (9, 2), (12, 3)])
def test_krum_chooses_as_its_formula_says(sites: int, dishonest: int) -> None:
    updates_NP = RNG.normal(size=(sites, 40_000)) * RNG.uniform(0.01, 0.1, size=(sites, 1))
    scores = []
    for one_P in updates_NP:
        squares = sorted(float(np.sum((one_P - other_P) ** 2)) for other_P in updates_NP)
        scores.append(sum(squares[1 : 1 + sites - dishonest - 2]))
    ranked = np.argsort(scores)
    krum_P = combined(Krum(40_000, dishonest, several=False), updates_NP)
    np.testing.assert_allclose(krum_P, updates_NP[ranked[0]], rtol=1e-6, atol=1e-7)
    several_P = combined(Krum(40_000, dishonest, several=True), updates_NP)
    expected_P = updates_NP[ranked[: sites - dishonest - 2]].mean(axis=0)
    np.testing.assert_allclose(several_P, expected_P, rtol=1e-5, atol=1e-7)


def test_the_norm_bounded_mean_is_the_mean_by_patients_of_shortened_updates() -> None:
    updates_NP = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, 2.0], [0.0, 0.0]])
    mean_P = combined(NormBoundedMean(2), updates_NP, patients=(10, 20, 30, 40))
    # The norms are 5, 1, 2 and 0; the lower one in the middle is 1.
    expected_P = (10 * np.array([0.6, 0.8]) + 20 * np.array([0.6, 0.8]) + 30 * np.array([0.0, 1.0])) / 100
    np.testing.assert_allclose(mean_P, expected_P, rtol=1e-6)


def test_updates_of_zeros_only_are_a_mean_of_zeros() -> None:
    updates_NP = np.zeros((5, 3))
    assert combined(NormBoundedMean(3), updates_NP).tolist() == [0, 0, 0]
    updates_NP[0] = 7.0
    assert combined(NormBoundedMean(3), updates_NP).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ROBUST)
def test_order_of_arrival_changes_no_bit(name: str) -> None:
    rule = rule_of(AggregationTable.model_validate({"rule": name, "dishonest": 2}), 700)
    updates_NP = RNG.normal(size=(7, 700))
    expected_P = combined(rule, updates_NP)
    for _ in range(3):
        assert combined(rule, updates_NP, order=RNG.permutation(7).tolist()).tobytes() == expected_P.tobytes()


@pytest.mark.parametrize("name", ROBUST)
def test_only_those_who_answered_count(name: str) -> None:
    rule = rule_of(AggregationTable.model_validate({"rule": name}), 50)
    opened = rule.open(plan_for([100] * 9))
    for site in names_of(9)[2:8]:
        opened.fold(contribution(site, fixedpoint.to_fixed(np.full(50, 0.25))))
    np.testing.assert_allclose(opened.close(), 0.25, rtol=1e-6)


@pytest.mark.parametrize("name", ROBUST)
def test_beside_the_updates_a_rule_takes_memory_for_its_result_and_some_blocks(name: str) -> None:
    parameters = 500_000
    rule = rule_of(AggregationTable.model_validate({"rule": name}), parameters)
    combined(rule, RNG.normal(size=(9, parameters)))  # compiles, which takes memory, too
    opened = rule.open(plan_for([100] * 9))
    for site in names_of(9):
        opened.fold(contribution(site, RNG.integers(-(2**30), 2**30, parameters)))
    tracemalloc.start()
    result = opened.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < result.nbytes + 3_000_000  # all nine have 18,000,000


def test_vectors_of_other_lengths_are_refused_before_a_compiled_loop_leaves_its_memory() -> None:
    sum_P, row_P, rows_RP = np.zeros(9, np.int64), np.zeros(9, np.float32), np.zeros((2, 8), np.float32)
    both_N = np.arange(2)
    with pytest.raises(ValueError, match="different lengths"):
        add_weighted(sum_P, np.ones(8, np.int64), 1)
    with pytest.raises(ValueError, match="different lengths"):
        write_floats(np.ones(10, np.int64), 1.0, row_P)
    with pytest.raises(ValueError, match="different lengths"):
        write_weighted_sum(rows_RP, both_N, np.ones(2, np.float32), row_P)
    with pytest.raises(ValueError, match="different lengths"):
        write_weighted_sum(rows_RP, both_N, np.ones(1, np.float32), row_P[:8])
    with pytest.raises(ValueError, match="same length"):
        write_middle_means(rows_RP, both_N, comparators(2, range(2)), (0, 2), row_P)
    assert not sum_P.any() and not row_P.any()


@pytest.mark.parametrize("name", ["median", "trimmed-mean", "krum", "multi-krum"])
def test_a_large_hospital_counts_once(name: str) -> None:
    rule = rule_of(AggregationTable.model_validate({"rule": name}), 2)
    updates_NP = np.array([[9.0, 9.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert combined(rule, updates_NP, patients=(10**6, 1, 1, 1, 1)).tolist() == [1.0, 1.0]
