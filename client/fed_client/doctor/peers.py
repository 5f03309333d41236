"""Says whether this site knows enough other hospitals to mask an update with."""

from fed_client.config import SiteConfig
from fed_client.doctor.check import Check, failed
from fed_common.errors import TrustError
from fed_common.masking.terms import MIN_MEMBERS
from fed_common.signing import SigningKey


def check_peers(config: SiteConfig) -> Check:
    """Return how many hospitals the policy names besides this one; without two, masked plans are refused."""
    try:
        own = SigningKey.load(config.identity).verifying_key.spoken
    except TrustError as error:
        return failed("peers", error, advice="the site's identity key is needed: `fed-client enroll`")
    others = len(set(config.policy.peers) - {own})
    if others + 1 < MIN_MEMBERS:
        return Check(
            subject="peers",
            status="warning",
            found=f"policy.peers names {others} other hospitals",
            advice=f"a masked sum is of {MIN_MEMBERS} at least: ask the others for their 32 digits",
        )
    insists = "; others are refused" if config.policy.require_masks else ""
    return Check(
        subject="peers", status="ok", found=f"updates are masked with up to {others} hospitals{insists}"
    )
