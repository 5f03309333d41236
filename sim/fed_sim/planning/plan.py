"""Works out what a run would cost, whom it protects how well, and what it leaves of each site's budget."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fed_client.opening import ACCOUNTANTS
from fed_common.accounting import PldAccountant
from fed_common.adversaries import Claim, MaskedSums, claims
from fed_common.budget import Budget
from fed_common.masking.terms import MIN_MEMBERS, fewest_summed
from fed_common.planning import Cost, Outlook, cost_of, outlook
from fed_common.proposal import Proposal


@dataclass(frozen=True, kw_only=True)
class SitePlan:
    """What is public about a site in the run; `largest_delta` still protects each of so many patients."""

    name: str
    patients: int
    divisor: float
    largest_delta: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that can be said of a run before it begins.

    `drawn_singly` is the tight epsilon of a patient with the most images allowed, were each image drawn and
    clipped for itself as record-level training does.
    """

    cost: Cost
    outlook: Outlook
    sites: tuple[SitePlan, ...]
    claims_if_masked: tuple[Claim, ...]
    max_images_per_patient: int
    drawn_singly: float
    accountants: tuple[str, ...]


def make_plan(proposal: Proposal, sizes: Mapping[str, int], *, budget: float) -> Plan:
    """Return the plan for sites of which each has `budget` and has spent nothing of it.

    Raises:
        ConfigError: no noise keeps the run within its epsilon.
    """
    noise, privacy = proposal.noise_multiplier(), proposal.privacy
    whole = Budget(epsilon=budget, delta=privacy.delta, accountants=ACCOUNTANTS)
    training, *counts = proposal.spends(noise)
    singly = replace(proposal.training(noise), draws_per_patient=privacy.max_images_per_patient)
    return Plan(
        cost=cost_of(proposal, noise, whole),
        outlook=outlook(proposal, noise, whole, []),
        sites=tuple(
            SitePlan(
                name=name,
                patients=size,
                divisor=privacy.sampling_rate * size,
                largest_delta=min(1e-5, 0.1 / size),
            )
            for name, size in sizes.items()
        ),
        claims_if_masked=claims(
            [training], privacy.delta, ACCOUNTANTS, masked=_masked(proposal, len(sizes)), apart=counts
        ),
        max_images_per_patient=privacy.max_images_per_patient,
        drawn_singly=PldAccountant().epsilon([singly, *counts], privacy.delta),
        accountants=tuple(accountant.name for accountant in ACCOUNTANTS),
    )


def _masked(proposal: Proposal, num_sites: int) -> MaskedSums | None:
    if num_sites < MIN_MEMBERS or not proposal.is_summed_once:
        return None
    return MaskedSums(
        honest_sites=fewest_summed(num_sites), steps_per_round=proposal.schedule.steps_per_round
    )
