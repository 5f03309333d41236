"""A run's public constants are measured once, before its first round, and survive whatever happens then."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import COORDINATOR_SIGNS, EAST, NORTH, SITES, SOUTH, ObedientSite, answer_to
from tests.server.runs import SETTINGS, Crash, CrashAt, Run, new_run

from fed_common.messages import PlanStatement, Refusal, unseal
from fed_common.plans import EvaluationTerms, Normalisation, TrainTerms
from fed_common.proposal import StatisticsTable
from fed_server.journal import SiteFailed, StatisticsGathered

MEASURING = replace(SETTINGS, statistics=StatisticsTable())

# As every `ObedientSite` says: 3 of 4 patients healthy; half of the pixels in step 4 of 16, half in step 12.
MEASURED = Normalisation(mean=0.5312, spread=0.25)
WEIGHTS = (0.6667, 2.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def gathered(run: Run) -> StatisticsGathered:
    (event,) = (event for event in run.folder.journal.read() if isinstance(event, StatisticsGathered))
    return event


def test_the_measured_constants_are_in_every_plan_and_manifest(run: Run) -> None:
    run.start(settings=MEASURING)
    site = run.sites[NORTH]
    assert isinstance(site, ObedientSite)
    assert [(plan.round, plan.phase) for plan in site.plans] == [
        (0, "statistics"),
        (1, "train"),
        (2, "train"),
        (2, "evaluate"),
    ]
    for plan in site.plans[1:]:
        assert isinstance(plan.terms, TrainTerms | EvaluationTerms)
        assert plan.terms.normalisation == MEASURED
        if isinstance(plan.terms, TrainTerms):
            assert plan.terms.class_weights == WEIGHTS
    for link in run.chain():
        assert (link.manifest.terms.normalisation, link.manifest.terms.class_weights) == (MEASURED, WEIGHTS)


def test_the_public_test_set_is_judged_with_the_measured_normalisation(tmp_path: Path) -> None:
    usual, measured = new_run(tmp_path / "usual"), new_run(tmp_path / "measured")
    usual.start()
    measured.start(settings=MEASURING)
    one, other = usual.chain()[0], measured.chain()[0]
    assert np.array_equal(one.parameters_P, other.parameters_P)
    assert one.manifest.test != other.manifest.test


def test_the_journal_tells_the_noised_counts_and_what_was_made_of_them(run: Run) -> None:
    run.start(settings=MEASURING)
    told = gathered(run)
    assert [row.site for row in told.sites] == [None, EAST, NORTH, SOUTH]
    assert told.sites[0].classes == (round(90_000 * 2**0.5), round(30_000 * 2**0.5))
    assert told.sites[0].class_margin == round(1.959964 * 8 * 2**0.5 * 3**0.5)
    assert told.sites[1].greys[4] == told.sites[1].greys[12] == 0.5
    assert told.sites[1].greys[5] is None
    assert (told.normalisation, told.class_weights, told.not_measured) == (MEASURED, WEIGHTS, "")


def test_the_ledger_heads_after_the_statistics_are_witnessed_in_the_first_round(run: Run) -> None:
    run.start(settings=MEASURING)
    site = run.sites[NORTH]
    assert isinstance(site, ObedientSite)
    assert site.plans[0].witnessed == ()
    assert {seen.site for seen in site.plans[1].witnessed} == set(SITES)


def refusing_statistics(payload: bytes) -> bytes:
    plan = unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan
    if plan.phase == "statistics":
        refusal = Refusal(code="statistics-not-allowed", detail="this site releases no statistics")
        return answer_to(plan, np.zeros(0), site=EAST, refusal=refusal)
    return ObedientSite(EAST, 0.001)(payload)


def test_a_site_that_refuses_statistics_trains_with_the_constants_of_the_others(run: Run) -> None:
    run.sites[EAST] = refusing_statistics
    last = run.start(settings=MEASURING)
    assert gathered(run).normalisation == MEASURED
    assert [row.site for row in gathered(run).sites] == [None, NORTH, SOUTH]
    failed = [(e.site, e.phase, e.code) for e in run.folder.journal.read() if isinstance(e, SiteFailed)]
    assert failed == [(EAST, "statistics", "statistics-not-allowed")]
    assert [stated.site for stated in last.manifest.sites] == sorted(SITES)


def test_without_a_quorum_of_statistics_the_usual_constants_stay_and_the_run_goes_on(run: Run) -> None:
    run.sites[EAST] = refusing_statistics
    all_sites = replace(MEASURING, quorum=MEASURING.quorum.model_copy(update={"sites": 3}))
    last = run.start(settings=all_sites)
    assert last.manifest.round == 2
    assert (last.manifest.terms.normalisation, last.manifest.terms.class_weights) == (Normalisation(), ())
    told = gathered(run)
    assert (told.sites, told.not_measured) == ((), "fewer than the 3 needed sites answered")


def test_what_the_noise_hides_stays_usual(run: Run) -> None:
    last = run.start(settings=replace(MEASURING, statistics=StatisticsTable(noise_multiplier=9e3)))
    assert gathered(run).not_measured == "the noise hides the greys"
    assert last.manifest.terms.normalisation == Normalisation()
    assert last.manifest.terms.class_weights != ()


def test_a_crash_at_any_event_asks_for_the_very_same_statistics(tmp_path: Path) -> None:
    whole = new_run(tmp_path)
    count = CrashAt(0)
    expected = whole.start(settings=MEASURING, observer=count)
    for number in range(1, count.seen + 1):
        crashed = new_run(tmp_path / str(number))
        with pytest.raises(Crash):
            crashed.start(settings=MEASURING, observer=CrashAt(number))
        assert crashed.start(settings=MEASURING).digest == expected.digest
        assert crashed.questions == whole.questions


def test_once_the_first_checkpoint_is_there_the_constants_are_never_measured_again(run: Run) -> None:
    with pytest.raises(Crash):
        run.start(settings=MEASURING, observer=CrashAt(7))  # the question of round 1
    assert len(run.chain()) == 1
    for site in SITES:
        run.sites[site] = ObedientSite(site, 0.002)
    run.start(settings=MEASURING)
    again = run.sites[NORTH]
    assert isinstance(again, ObedientSite)
    assert [plan.phase for plan in again.plans] == ["train", "train", "evaluate"]
    assert run.chain()[-1].manifest.terms.normalisation == MEASURED
