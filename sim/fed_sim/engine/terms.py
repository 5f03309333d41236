"""What a scenario of virtual sites asks of a site in a round, and what the site's policy says to it."""

from fed_client.policy import SitePolicy
from fed_common import fixedpoint
from fed_common.accounting import ACCOUNTANT_TOLERANCE, PldAccountant, Spend, calibrate_noise, charged_epsilon
from fed_common.errors import ConfigError
from fed_common.messages import RoundPlan
from fed_common.models import ModelSpec
from fed_common.names import SiteName, body_digest, digest_of, run_id
from fed_common.plans import DpTerms, SiteTerms, TrainTerms
from fed_common.proposal import PrivacyTable
from fed_sim.engine.local_training import UnprotectedTerms
from fed_sim.engine.participation import most_rounds
from fed_sim.engine.scenario import UnprotectedTable, VirtualScenario

# An unprotected update isn't clipped; one so long has diverged, and what is longer would overflow the sum.
_LONGEST_UPDATE = 1e4


def unprotected_terms(scenario: VirtualScenario, table: UnprotectedTable) -> UnprotectedTerms:
    """Return what a site does in a round without privacy."""
    training = scenario.training
    terms = UnprotectedTerms(
        steps=training.steps_per_round,
        batch_size=table.batch_size,
        learning_rate=training.learning_rate,
        momentum=training.momentum,
        views=training.views,
        longest_update=_LONGEST_UPDATE,
    )
    _refuse_overflow(scenario, terms.longest_update)
    return terms


def private_terms(scenario: VirtualScenario, privacy: PrivacyTable) -> TrainTerms:
    """Return what a site does in a private round; the noise is that of who trains most often.

    Who trains when is known beforehand, so no amplification by the choice of sites is claimed.

    Raises:
        ConfigError: no noise keeps that site within its epsilon, or the given one doesn't.
    """
    training = scenario.training
    steps = training.steps_per_round * most_rounds(scenario.virtual, rounds=training.rounds)

    def epsilon_of(noise_multiplier: float) -> float:
        spend = Spend(noise_multiplier=noise_multiplier, sampling_rate=privacy.sampling_rate, steps=steps)
        return charged_epsilon([spend], privacy.delta, (PldAccountant(),))

    noise = privacy.noise_multiplier
    if noise is None:
        noise = calibrate_noise(epsilon_of, epsilon=privacy.epsilon - ACCOUNTANT_TOLERANCE)
    elif not epsilon_of(noise) <= privacy.epsilon:
        raise ConfigError(
            f"privacy.noise_multiplier {noise:g} spends epsilon {epsilon_of(noise):.3f} at the site that "
            f"trains most often, privacy.epsilon allows {privacy.epsilon:g}"
        )
    _refuse_overflow(scenario, privacy.update_clip)
    return TrainTerms(
        dp=DpTerms(
            noise_multiplier=noise,
            clip_norm=privacy.clip_norm,
            sampling_rate=privacy.sampling_rate,
            steps=training.steps_per_round,
            max_images_per_patient=privacy.max_images_per_patient,
        ),
        learning_rate=training.learning_rate,
        momentum=training.momentum,
        views=training.views,
        update_clip=privacy.update_clip,
    )


def policy_of(scenario: VirtualScenario, privacy: PrivacyTable, spec: ModelSpec) -> SitePolicy:
    """Return the policy of every virtual site: the scenario's, and beyond that what it asks for."""
    table = scenario.policy
    policy = SitePolicy(
        epsilon=table.epsilon or privacy.epsilon,
        delta=privacy.delta,
        min_noise_multiplier=table.min_noise_multiplier,
        min_evaluation_noise=1.0,
        allow_statistics=False,
        min_statistics_noise=4.0,
        max_clip_norm=privacy.clip_norm,
        max_sampling_rate=table.max_sampling_rate,
        max_steps_per_round=scenario.training.steps_per_round,
        max_images_per_patient=privacy.max_images_per_patient,
        min_cohort=table.min_cohort,
        min_patients=table.min_patients,
        allowed_models=(spec.fingerprint,),
    )
    policy.refuse_weak_delta(scenario.virtual.images)
    return policy


def admitted(policy: SitePolicy, scenario: VirtualScenario, terms: TrainTerms, spec: ModelSpec) -> Spend:
    """Return what a round spends, if the policy admits it; asked once, for it is the same at all sites.

    Raises:
        PolicyRefusal: the terms are beyond the policy.
    """
    virtual = scenario.virtual
    plan = RoundPlan(
        run=run_id(scenario.name),
        round=1,
        rounds=scenario.training.rounds,
        task=scenario.digest,
        model=spec.fingerprint,
        parameters=body_digest(b""),
        lineage=(digest_of(b""),),
        cohort=tuple(
            SiteTerms(name=SiteName(f"site-{site}"), patients=virtual.images) for site in range(virtual.sites)
        ),
        terms=terms,
        masking=None,
        witnessed=(),
    )
    (spend,) = policy.admit(plan, patients=virtual.images).spends
    return spend


def _refuse_overflow(scenario: VirtualScenario, longest: float) -> None:
    virtual = scenario.virtual
    fixedpoint.refuse_overflow(largest_value=longest, total_weight=virtual.images * virtual.sites_per_round)
