"""What a hospital asks of a masked plan before it trains: known peers, enough, and a sum that fits."""

from fed_client.policy import PolicyRefusal, SitePolicy
from fed_common.errors import TrustError
from fed_common.masking.terms import MIN_MEMBERS
from fed_common.messages import RoundPlan
from fed_common.names import SiteName
from fed_common.plans import TrainTerms
from fed_common.signing import VerifyingKey


def minimum_sum(policy: SitePolicy) -> int:
    """Return of how many sites a sum must be at least."""
    return max(MIN_MEMBERS, policy.min_cohort)


def refuse_masking(plan: RoundPlan, policy: SitePolicy, *, site: SiteName, key: VerifyingKey) -> None:
    """Return only if this site may answer the plan with the masks, or the lack of them, that it asks for.

    Raises:
        PolicyRefusal: an update would be seen alone, or among sites that the privacy officer doesn't know.
    """
    if not isinstance(plan.terms, TrainTerms):
        return
    if plan.masking is None:
        if policy.require_masks:
            raise PolicyRefusal("unmasked-not-allowed", "this site sends no update that could be seen alone")
        return
    if len(plan.masking.members) < minimum_sum(policy):
        raise PolicyRefusal(
            "cohort-too-small", f"{len(plan.masking.members)} sites, a sum here is of {minimum_sum(policy)}"
        )
    try:
        fingerprints = {peer: known.spoken for peer, known in plan.masking.keys.items()}
    except TrustError as error:
        raise PolicyRefusal("peer-unknown", str(error)) from error
    if fingerprints.get(site) != key.spoken:
        raise PolicyRefusal("peer-unknown", f"the plan names another key for {site} itself")
    for peer, fingerprint in fingerprints.items():
        if peer != site and fingerprint not in policy.peers:
            raise PolicyRefusal("peer-unknown", f"{peer}'s key {fingerprint} is not in policy.peers")
    weight = sum(terms.patients for terms in plan.cohort)
    if not plan.masking.ring.holds(clip=plan.terms.update_clip, total_weight=weight):
        raise PolicyRefusal(
            "ring-too-small", f"a sum of {weight} patients could wrap in {plan.masking.ring.bits} bits"
        )
