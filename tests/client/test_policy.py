"""Every limit of the hospital refuses or tightens with its own code, and its exact value is allowed."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from tests.fakes import COHORT, EVALUATE, POLICY, STATISTICS, TRAIN, StepCounter, plan_of

from fed_client.opening import ACCOUNTANTS
from fed_client.policy import Admission, PolicyRefusal, SitePolicy
from fed_common.accounting import ACCOUNTANT_TOLERANCE, RdpAccountant, Spend
from fed_common.errors import ConfigError
from fed_common.messages import RefusalCode, RoundPlan
from fed_common.plans import DpTerms, EvaluationTerms


def training(**changed: float) -> RoundPlan:
    return plan_of(replace(TRAIN, dp=DpTerms(**{**asdict(TRAIN.dp), **changed})))


def admitted(policy: SitePolicy, plan: RoundPlan) -> Admission:
    return policy.admit(plan, patients=8)


def policy_with(limit: str, value: float) -> SitePolicy:
    return SitePolicy(**{**asdict(POLICY), limit: value})


def test_a_plan_exactly_at_every_limit_is_allowed() -> None:
    assert admitted(POLICY, plan_of()).spends == (Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2),)
    for counts in (EVALUATE, STATISTICS):
        assert admitted(POLICY, plan_of(counts)).spends == (
            Spend(noise_multiplier=4.0, sampling_rate=1.0, steps=1),
        )


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (training(noise_multiplier=0.999), "noise-below-floor"),
        (training(clip_norm=1.001), "clip-above-ceiling"),
        (training(sampling_rate=0.501), "sampling-above-ceiling"),
        (training(steps=3), "steps-above-ceiling"),
        (training(max_images_per_patient=3), "images-above-ceiling"),
        (plan_of(EvaluationTerms(noise_multiplier=3.999, bins=10)), "noise-below-floor"),
        (plan_of(replace(STATISTICS, noise_multiplier=3.999)), "noise-below-floor"),
        (replace(plan_of(), cohort=COHORT[:2]), "cohort-too-small"),
        (replace(plan_of(), cohort=(COHORT[0],) * 3), "cohort-too-small"),
        (replace(plan_of(), model="resnet"), "model-not-allowed"),
    ],
)
def test_each_limit_refuses_with_its_code(plan: RoundPlan, code: RefusalCode) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        admitted(POLICY, plan)
    assert refused.value.code == code


@pytest.mark.parametrize("field", ["max_clip_norm", "max_sampling_rate"])
def test_a_limit_that_is_no_number_allows_nothing(field: str) -> None:
    with pytest.raises(PolicyRefusal):
        admitted(policy_with(field, math.nan), plan_of())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epsilon", value) for value in (0.0, -1.0, 1001.0, math.nan, math.inf)),
        *(("delta", value) for value in (0.0, -1e-6, 1.1e-5, math.nan)),
        *(("min_noise_multiplier", value) for value in (0.0, -1.0, math.nan)),
        *(("min_evaluation_noise", value) for value in (0.0, -1.0, math.nan)),
        *(("min_statistics_noise", value) for value in (0.0, -1.0, math.nan)),
    ],
)
def test_a_policy_that_protects_nobody_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"policy.{field}"):
        policy_with(field, value)


def test_a_site_that_releases_no_statistics_still_trains() -> None:
    private = replace(POLICY, allow_statistics=False)
    with pytest.raises(PolicyRefusal) as refused:
        admitted(private, plan_of(replace(STATISTICS, noise_multiplier=1e4)))
    assert refused.value.code == "statistics-not-allowed"
    assert admitted(private, plan_of()) == admitted(POLICY, plan_of())


def test_delta_must_fit_the_number_of_patients() -> None:
    POLICY.refuse_weak_delta(10_000)
    with pytest.raises(ConfigError, match="delta"):
        POLICY.refuse_weak_delta(10_001)


def test_the_exact_budget_is_allowed_and_one_step_more_is_not() -> None:
    spent = [Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=4)]
    POLICY.check_budget(
        spent, [Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2)], (StepCounter(),), unit="patient"
    )
    with pytest.raises(PolicyRefusal, match=r"7\.000 of 6") as refused:
        POLICY.check_budget(
            spent, [Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=3)], (StepCounter(),), unit="patient"
        )
    assert refused.value.code == "budget-exhausted"


class Unasked(StepCounter):
    """An accountant who mustn't be asked."""

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        raise AssertionError


def test_the_tight_accountants_are_asked_only_where_renyi_accounting_would_refuse() -> None:
    asked = [Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=20)]
    renyi = RdpAccountant().epsilon(asked, POLICY.delta)
    ample = replace(POLICY, epsilon=renyi + 2 * ACCOUNTANT_TOLERANCE)
    ample.check_budget([], asked, (Unasked(),), unit="patient")
    near = replace(POLICY, epsilon=renyi)
    near.check_budget([], asked, ACCOUNTANTS, unit="patient")
    with pytest.raises(AssertionError):
        near.check_budget([], asked, (Unasked(),), unit="patient")


FEW_STEPS = replace(POLICY, min_evaluation_noise=1.0, max_sampling_rate=0.01, max_steps_per_round=1)
LOUD_STATISTICS = replace(POLICY, min_statistics_noise=0.5, max_sampling_rate=0.01, max_steps_per_round=1)


@pytest.mark.parametrize("policy", [POLICY, FEW_STEPS, LOUD_STATISTICS])
def test_no_allowed_round_costs_more_than_the_costliest(policy: SitePolicy) -> None:
    costliest = RdpAccountant().epsilon([policy.costliest_round()], policy.delta)
    dp = replace(TRAIN.dp, sampling_rate=policy.max_sampling_rate, steps=policy.max_steps_per_round)
    evaluation = EvaluationTerms(noise_multiplier=policy.min_evaluation_noise, bins=10)
    statistics = replace(STATISTICS, noise_multiplier=policy.min_statistics_noise)
    for plan in (plan_of(replace(TRAIN, dp=dp)), plan_of(evaluation), plan_of(statistics)):
        assert RdpAccountant().epsilon(admitted(policy, plan).spends, policy.delta) <= costliest


TIGHTENING = replace(POLICY, beyond_limits="tighten")


@pytest.mark.parametrize(
    ("plan", "code", "own"),
    [
        (training(noise_multiplier=0.5), "noise-below-floor", {"noise_multiplier": 1.0}),
        (training(clip_norm=3.0), "clip-above-ceiling", {"clip_norm": 1.0}),
        (training(sampling_rate=0.9), "sampling-above-ceiling", {"sampling_rate": 0.5}),
        (training(steps=9), "steps-above-ceiling", {"steps": 2}),
        (training(max_images_per_patient=9), "images-above-ceiling", {"max_images_per_patient": 2}),
    ],
)
def test_what_is_beyond_a_limit_is_brought_to_it_and_charged_as_such(
    plan: RoundPlan, code: RefusalCode, own: dict[str, float]
) -> None:
    admission = admitted(TIGHTENING, plan)
    assert admission.terms == replace(TRAIN, dp=DpTerms(**{**asdict(TRAIN.dp), **own}))
    assert admission.tightened is not None and admission.tightened.codes == (code,)
    assert admission.spends == admitted(POLICY, replace(plan, terms=admission.terms)).spends


def test_several_limits_at_once_are_all_named() -> None:
    admission = admitted(TIGHTENING, training(noise_multiplier=0.5, sampling_rate=0.9, steps=9))
    assert admission.tightened is not None
    assert admission.tightened.codes == ("noise-below-floor", "sampling-above-ceiling", "steps-above-ceiling")
    assert admission.spends == (Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2),)


@pytest.mark.parametrize("counts", [EVALUATE, STATISTICS])
def test_counts_get_the_noise_of_the_site(counts: EvaluationTerms) -> None:
    admission = admitted(TIGHTENING, plan_of(replace(counts, noise_multiplier=1.0)))
    assert (admission.terms, admission.spends[0].noise_multiplier) == (counts, 4.0)


@pytest.mark.parametrize(
    ("policy", "plan", "code"),
    [
        (TIGHTENING, replace(plan_of(), cohort=COHORT[:2]), "cohort-too-small"),
        (TIGHTENING, replace(plan_of(), model="resnet"), "model-not-allowed"),
        (replace(TIGHTENING, allow_statistics=False), plan_of(STATISTICS), "statistics-not-allowed"),
        # A tenth of 8 patients: most steps would be noise alone.
        (replace(TIGHTENING, max_sampling_rate=0.1), plan_of(), "sampling-above-ceiling"),
        (replace(TIGHTENING, max_clip_norm=math.nan), plan_of(), "clip-above-ceiling"),
    ],
)
def test_what_cannot_be_tightened_is_refused(policy: SitePolicy, plan: RoundPlan, code: RefusalCode) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        admitted(policy, plan)
    assert refused.value.code == code


def test_terms_within_the_limits_are_never_changed() -> None:
    quiet = training(noise_multiplier=5.0, clip_norm=0.1, sampling_rate=0.2, steps=1)
    admission = admitted(TIGHTENING, quiet)
    assert (admission.terms, admission.tightened) == (quiet.terms, None)
