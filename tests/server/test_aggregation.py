"""The mean is the one computed by hand, to the last bit, in whatever order the sites answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fakes import COHORT, EAST, EVALUATE, NORTH, SOUTH, TRAIN, plan_of, privacy_of

from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.errors import ConfigError
from fed_common.metrics import EvaluationCounts
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_server.aggregation import CountsBySite, WeightedMean
from fed_server.screening import Contribution


def contribution(site: SiteName, values: NDArray[np.float64], *, noise: float = 4.0) -> Contribution:
    return Contribution(
        site=site,
        values=fixedpoint.to_fixed(values),
        noise_multiplier=noise,
        tightened=None,
        privacy=privacy_of(),
        log=EMPTY_LOG,
    )


def mean_of(*contributions: Contribution) -> NDArray[np.float64]:
    opened = WeightedMean(len(contributions[0].values)).open(plan_of())
    for one in contributions:
        opened.fold(one)
    return opened.close()


def test_the_mean_of_three_updates_is_exactly_the_one_by_hand() -> None:
    mean_P = mean_of(  # weights 4, 8 and 16
        contribution(NORTH, np.array([1.0, 7.0])),
        contribution(EAST, np.array([0.5, 0.0])),
        contribution(SOUTH, np.array([-0.25, 1.75])),
    )
    assert mean_P.tolist() == [(4 * 1.0 + 8 * 0.5 + 16 * -0.25) / 28, (4 * 7.0 + 16 * 1.75) / 28]


def test_a_missing_site_weighs_nothing() -> None:
    mean_P = mean_of(contribution(NORTH, np.array([3.0])), contribution(EAST, np.array([-1.5])))
    assert mean_P.tolist() == [(4 * 3.0 - 8 * 1.5) / 12]


@given(st.permutations([0, 1, 2]), st.integers(0, 2**32))
def test_order_of_arrival_changes_no_bit(order: list[int], seed: int) -> None:
    updates_P = np.random.default_rng(seed).normal(size=(3, 50))
    answers = [contribution(site.name, update) for site, update in zip(COHORT, updates_P, strict=True)]
    assert mean_of(*(answers[index] for index in order)).tobytes() == mean_of(*answers).tobytes()


def test_nothing_of_one_round_is_in_the_next() -> None:
    rule = WeightedMean(1)
    rule.open(plan_of()).fold(contribution(NORTH, np.array([5.0])))
    second = rule.open(plan_of())
    second.fold(contribution(NORTH, np.array([1.0])))
    assert second.close().tolist() == [1.0]


def test_weights_that_could_overflow_the_sum_are_refused() -> None:
    huge = tuple(SiteTerms(name=site.name, patients=10**6) for site in COHORT)
    plan = replace(plan_of(replace(TRAIN, update_clip=1e4)), cohort=huge)
    with pytest.raises(ConfigError, match="overflow"):
        WeightedMean(1).open(plan)


def test_the_largest_allowed_sum_does_not_wrap_around() -> None:
    large = tuple(SiteTerms(name=site.name, patients=70_000) for site in COHORT)
    opened = WeightedMean(1).open(replace(plan_of(replace(TRAIN, update_clip=1e4)), cohort=large))
    for site in large:
        opened.fold(contribution(site.name, np.array([1e4])))
    assert opened.close().tolist() == [1e4]


def test_histograms_stay_apart_by_site_and_know_their_noise() -> None:
    opened = CountsBySite(lambda values, noise: EvaluationCounts.from_vector(values, noise_std=noise)).open(
        plan_of(EVALUATE)
    )
    opened.fold(contribution(NORTH, released([1.0, 2.0], [3.0, 4.0])))
    opened.fold(contribution(EAST, released([0.5, 0.0], [0.0, -0.5]), noise=9.0))
    counts = opened.close()
    assert counts.keys() == {NORTH, EAST}
    assert counts[NORTH].negatives_B == pytest.approx([1.0, 2.0])
    assert counts[EAST].positives_B == pytest.approx([0.0, -0.5])
    assert (counts[NORTH].noise_std, counts[EAST].noise_std) == (4.0, 9.0)


def released(negatives: list[float], positives: list[float]) -> NDArray[np.float64]:
    return EvaluationCounts(
        negatives_B=np.array(negatives), positives_B=np.array(positives), noise_std=0.0
    ).to_vector()
