"""A candidate falls by a majority of patients at two sites at least, and never by noise."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from tests.fakes import COHORT, EAST, NORTH, SOUTH

from fed_common import seeds
from fed_common.metrics import Estimate, EvaluationCounts
from fed_common.names import SiteName
from fed_common.noised_figures import NoisedFigures
from fed_common.plans import SiteTerms
from fed_common.proposal import EvaluationTable, PrivacyTable, Proposal, ScheduleTable
from fed_common.vote import Rollback, SiteAuc, Standing
from fed_server.journal import SiteFigures
from fed_server.outcomes import figures_of
from fed_server.vote import Vote, count_votes

GOOD, WORSE, UNSURE = (
    Estimate(value=0.9, low=0.85, high=0.95),
    Estimate(value=0.82, low=0.76, high=0.88),  # 0.08 less, where 0.0781 may be chance
    Estimate(value=0.82, low=0.75, high=0.89),
)
NOISE = Proposal(
    schedule=ScheduleTable(rounds=20, steps_per_round=1),
    privacy=PrivacyTable(epsilon=8.0, sampling_rate=0.1),
    evaluation=EvaluationTable(every=10),
    statistics=None,
).evaluation_noise
STANDING = Standing(round=4, aucs=tuple(SiteAuc(site=site, auc=GOOD) for site in (EAST, NORTH, SOUTH)))


def found(aucs: Mapping[SiteName, Estimate | None]) -> Sequence[SiteFigures]:
    together = SiteFigures(site=None, figures=NoisedFigures(auc=WORSE))
    return (
        together,
        *(SiteFigures(site=site, figures=NoisedFigures(auc=auc)) for site, auc in aucs.items()),
    )


def fell(aucs: Mapping[SiteName, Estimate | None], *, cohort: Sequence[SiteTerms] = COHORT) -> bool:
    return count_votes(8, STANDING, found(aucs), cohort).rollback is not None


def test_the_first_candidate_measured_stands() -> None:
    aucs = (SiteAuc(site=NORTH, auc=GOOD), SiteAuc(site=SOUTH, auc=WORSE))
    figures = found({NORTH: GOOD, EAST: None, SOUTH: WORSE})
    assert count_votes(4, None, figures, COHORT) == Vote(standing=Standing(round=4, aucs=aucs))


def test_a_candidate_that_a_majority_finds_worse_falls_and_the_one_before_stands() -> None:
    vote = count_votes(8, STANDING, found({EAST: WORSE, NORTH: GOOD, SOUTH: WORSE}), COHORT)
    assert vote == Vote(standing=STANDING, rollback=Rollback(to=4, worse=(EAST, SOUTH)))


@pytest.mark.parametrize(
    "aucs",
    [
        pytest.param({EAST: WORSE, NORTH: WORSE, SOUTH: GOOD}, id="12 of 28 patients"),
        pytest.param({EAST: GOOD, NORTH: GOOD, SOUTH: WORSE}, id="16 of 28, but one site"),
        pytest.param({EAST: UNSURE, NORTH: UNSURE, SOUTH: UNSURE}, id="within the intervals"),
        pytest.param({SOUTH: WORSE, EAST: None}, id="the others can't tell"),
        pytest.param({}, id="nobody answered"),
    ],
)
def test_otherwise_it_stands(aucs: Mapping[SiteName, Estimate | None]) -> None:
    assert not fell(aucs)


def test_half_of_the_patients_are_no_majority() -> None:
    halves = tuple(SiteTerms(name=site, patients=10) for site in (EAST, NORTH, SOUTH, SiteName("west")))
    assert not fell({EAST: WORSE, NORTH: WORSE}, cohort=halves)
    assert fell({EAST: WORSE, NORTH: WORSE, SOUTH: WORSE}, cohort=halves)


def test_without_figures_what_stood_before_goes_on_standing() -> None:
    assert count_votes(8, STANDING, found({}), COHORT) == Vote(standing=STANDING)


FIVE = tuple(SiteTerms(name=SiteName(name), patients=10) for name in "abcde")
A, B, C, D, E = (site.name for site in FIVE)


def standing_after(number: int, standing: Standing | None, sites: Sequence[SiteName]) -> Standing | None:
    """Return what stands after `sites` alone have measured a candidate, and found it good."""
    return count_votes(number, standing, found(dict.fromkeys(sites, GOOD)), FIVE).standing


def test_what_a_minority_has_measured_does_not_stand_and_nobody_forgets() -> None:
    whole = standing_after(2, None, (A, B, C, D, E))
    for few in ((A,), (D, E)):
        assert standing_after(2, None, few) is None
        assert standing_after(4, whole, few) == whole
    vote = count_votes(6, whole, found(dict.fromkeys((C, D, E), WORSE)), FIVE)
    assert vote.rollback == Rollback(to=2, worse=(C, D, E))
    # Off: if one answer were enough, all would find the next one worse, and none could say so.
    forgetful = Standing(round=4, aucs=(SiteAuc(site=A, auc=GOOD),))
    everywhere = found(dict.fromkeys((A, B, C, D, E), WORSE))
    assert count_votes(6, forgetful, everywhere, FIVE).rollback is None


def test_sites_that_answer_in_turns_are_still_a_majority() -> None:
    both = standing_after(4, standing_after(2, None, (C, D, E)), (A, B, C))
    assert both is not None and both.round == 4
    vote = count_votes(6, both, found(dict.fromkeys((C, D, E), WORSE)), FIVE)
    assert vote.rollback == Rollback(to=4, worse=(C, D, E))


def measured(auc_shift: float, rng: np.random.Generator) -> Sequence[SiteFigures]:
    """Return figures of 300 patients at each site, noised as two evaluations at epsilon 8 are."""

    def counts() -> EvaluationCounts:
        healthy_N, sick_N = rng.normal(0.4, 0.15, 150), rng.normal(0.4 + auc_shift, 0.15, 150)
        scores_N = np.clip(np.concatenate((healthy_N, sick_N)), 0, 1)
        exact = EvaluationCounts.of_scores(scores_N, np.arange(300) >= 150, bins=20).to_vector()
        return EvaluationCounts.from_vector(exact + rng.normal(0, NOISE, exact.shape), noise_std=NOISE)

    return figures_of({site: counts() for site in (EAST, NORTH, SOUTH)})


def test_noise_alone_drops_no_candidate_and_a_broken_model_is_always_dropped() -> None:
    rng = seeds.stream(11, "votes")
    equal = tuple(SiteTerms(name=site, patients=300) for site in (EAST, NORTH, SOUTH))
    for _ in range(12):
        standing = count_votes(1, None, measured(0.25, rng), equal).standing
        assert standing is not None and len(standing.aucs) == 3
        assert count_votes(2, standing, measured(0.25, rng), equal).rollback is None
        assert count_votes(2, standing, measured(0.0, rng), equal).rollback is not None
