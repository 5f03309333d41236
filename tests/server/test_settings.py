"""The settings of a run keep within its epsilon, and a changed one is another run."""

from dataclasses import replace

import pytest
from tests.fakes import COHORT, TASK

from fed_client.prv import PrvAccountant
from fed_common.accounting import Spend, gaussian_noise
from fed_common.errors import ConfigError
from fed_common.plans import SiteTerms, StatisticsTerms
from fed_common.proposal import EvaluationTable, PrivacyTable, StatisticsTable
from fed_server.algorithms.scaffold import Scaffold
from fed_server.settings import AggregationTable, CommunicationTable, QuorumTable, RunSettings, TrainingTable

TRAINING = TrainingTable(rounds=5, steps_per_round=4, learning_rate=0.1)
SETTINGS = RunSettings(
    name="play",
    task=TASK,
    cohort=COHORT,
    training=TRAINING,
    privacy=PrivacyTable(epsilon=6.0, sampling_rate=1.0),
    evaluation=EvaluationTable(every=2, noise_multiplier=8.0),
    quorum=QuorumTable(sites=2),
)


def test_the_calibrated_noise_keeps_both_accountants_within_epsilon() -> None:
    noise = SETTINGS.train_terms().dp.noise_multiplier
    spends = [
        Spend(noise_multiplier=noise, sampling_rate=1.0, steps=20),
        Spend(noise_multiplier=8.0, sampling_rate=1.0, steps=3),  # after rounds 2, 4 and 5
    ]
    assert 5.9 < PrvAccountant().epsilon(spends, 1e-5) <= 6.0
    assert SETTINGS.proposal.epsilon(noise) <= 6.0


PLAIN, SHORT = AggregationTable(masked=False), CommunicationTable(updates="8-bit")
WITH_STATISTICS = replace(SETTINGS, statistics=StatisticsTable(noise_multiplier=2.0))


def test_the_calibrated_noise_pays_for_the_statistics() -> None:
    noise = WITH_STATISTICS.train_terms().dp.noise_multiplier
    spends = [
        Spend(noise_multiplier=noise, sampling_rate=1.0, steps=20),
        Spend(noise_multiplier=8.0, sampling_rate=1.0, steps=3),
        Spend(noise_multiplier=2.0, sampling_rate=1.0, steps=1),
    ]
    assert 5.9 < PrvAccountant().epsilon(spends, 1e-5) <= 6.0
    assert noise > SETTINGS.train_terms().dp.noise_multiplier


def test_statistics_are_asked_about_the_tasks_own_classes() -> None:
    assert SETTINGS.statistics_terms() is None
    several = replace(WITH_STATISTICS, task=replace(TASK, classes=("a", "b", "sick"), multi_label=True))
    assert several.statistics_terms() == StatisticsTerms(
        noise_multiplier=2.0, classes=3, several_labels=True, bins=16
    )


def test_a_given_noise_must_keep_within_epsilon() -> None:
    enough = replace(SETTINGS, privacy=PrivacyTable(epsilon=6.0, sampling_rate=1.0, noise_multiplier=4.0))
    assert enough.train_terms().dp.noise_multiplier == 4.0
    too_little = PrivacyTable(epsilon=6.0, sampling_rate=1.0, noise_multiplier=2.0)
    with pytest.raises(ConfigError, match="noise_multiplier"):
        replace(SETTINGS, privacy=too_little).train_terms()


@pytest.mark.parametrize("every", [1, 5])
def test_evaluations_take_their_share_however_many_they_are(every: int) -> None:
    shared = replace(SETTINGS, evaluation=EvaluationTable(every=every, share=0.25))
    evaluations = shared.proposal.evaluations()
    everything = gaussian_noise(epsilon=6.0, delta=1e-5)
    assert evaluations.steps == 5 // every
    taken = evaluations.steps / evaluations.noise_multiplier**2
    assert taken == pytest.approx(0.25 / everything**2, rel=0.001)
    terms = shared.evaluation_terms(every, shared.train_terms())
    assert terms.noise_multiplier == evaluations.noise_multiplier


def test_the_last_round_is_always_evaluated() -> None:
    assert [number for number in range(1, 6) if SETTINGS.proposal.evaluates_after(number)] == [2, 4, 5]


@pytest.mark.parametrize("quorum", [4, 1000])
def test_a_quorum_larger_than_the_cohort_is_refused(quorum: int) -> None:
    with pytest.raises(ConfigError, match="quorum"):
        replace(SETTINGS, quorum=QuorumTable(sites=quorum))


def test_two_sites_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="different names"):
        replace(SETTINGS, cohort=(COHORT[0], SiteTerms(name=COHORT[0].name, patients=9)))


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, task=replace(TASK, positive="healthy")),
        replace(SETTINGS, cohort=COHORT[:2]),
        replace(SETTINGS, training=TRAINING.model_copy(update={"learning_rate": 0.2})),
        replace(SETTINGS, privacy=PrivacyTable(epsilon=6.0, sampling_rate=0.4)),
        replace(SETTINGS, evaluation=EvaluationTable(every=3, noise_multiplier=8.0)),
        WITH_STATISTICS,
        replace(SETTINGS, aggregation=AggregationTable(rule="median")),
        replace(SETTINGS, aggregation=AggregationTable(vote=True)),
        replace(SETTINGS, aggregation=PLAIN, communication=SHORT),
    ],
)
def test_what_changes_the_result_changes_the_digest(changed: RunSettings) -> None:
    assert changed.digest != SETTINGS.digest


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"rule": "median", "masked": True}, "exclude each other: a robust rule compares"),
        ({"rule": "krum"}, "at least 5 sites against 1 dishonest, got 3"),
        ({"rule": "trimmed-mean", "dishonest": 2}, "at least 5 sites against 2 dishonest, got 3"),
        ({"dishonest": 1, "masked": False}, "needs a robust rule"),
    ],
)
def test_what_can_not_be_aggregated_together_is_refused(table: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(SETTINGS, aggregation=AggregationTable.model_validate(table))


def test_updates_in_8_bits_are_asked_of_the_sites_and_refused_under_masks() -> None:
    plain = replace(SETTINGS, aggregation=PLAIN)
    assert plain.train_terms().encoding == "fixed-point"
    assert replace(plain, communication=SHORT).train_terms().encoding == "8-bit"
    assert replace(plain, communication=CommunicationTable()).digest == plain.digest
    with pytest.raises(ConfigError, match=r"masked sums exclude each other: .* scales don't add up"):
        replace(SETTINGS, communication=SHORT)


def test_a_robust_rule_is_not_masked_and_waits_for_enough_answers() -> None:
    robust = replace(SETTINGS, aggregation=AggregationTable(rule="median"))
    assert SETTINGS.masked and not robust.masked
    assert robust.quorum_in_force.sites == 3 and robust.quorum.sites == 2


def test_a_vote_needs_two_voters_and_two_evaluations() -> None:
    voting = replace(SETTINGS, aggregation=AggregationTable(vote=True))
    assert voting.aggregation.vote
    with pytest.raises(ConfigError, match="below 5, got 5"):
        replace(voting, evaluation=EvaluationTable(every=5))
    with pytest.raises(ConfigError, match="at least 2 sites"):
        replace(voting, cohort=COHORT[:1], quorum=QuorumTable(sites=1))


def test_waiting_longer_does_not_make_another_run() -> None:
    assert replace(SETTINGS, quorum=QuorumTable(sites=3, deadline_s=1.0)).digest == SETTINGS.digest


def test_the_coordinator_alone_learns_less_only_with_masks_and_one_step_a_round() -> None:
    one_step = TRAINING.model_copy(update={"steps_per_round": 1})
    assert SETTINGS.masked and SETTINGS.claim_alone() is None  # four steps
    alone = replace(SETTINGS, training=one_step).claim_alone()
    assert alone is not None and "3 sites" in alone.adversary
    noise = replace(SETTINGS, training=one_step).train_terms().dp.noise_multiplier
    seen = [
        Spend(noise_multiplier=noise * 3**0.5, sampling_rate=1.0, steps=5),
        Spend(noise_multiplier=8.0, sampling_rate=1.0, steps=3),  # counts aren't masked
    ]
    assert alone.epsilon == pytest.approx(PrvAccountant().epsilon(seen, 1e-5), abs=0.05)
    plain = replace(SETTINGS, training=one_step, aggregation=AggregationTable(masked=False))
    assert plain.claim_alone() is None
    assert replace(SETTINGS, training=one_step, algorithm=Scaffold(name="scaffold")).claim_alone() is None
