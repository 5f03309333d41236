"""Writes down that a site left, and certifies it with the models that it is part of."""

from pathlib import Path

from fed_common.names import Digest, SiteName
from fed_common.withdrawal import SiteWithdrawal
from fed_server.registry.admission import Admissions
from fed_server.registry.keys import IdentityKeys
from fed_server.withdrawal.usage import Use, uses_of


def withdraw_site(
    site: SiteName, reason: str, *, admissions: Admissions, federation: str, runs: Path
) -> tuple[SiteWithdrawal, tuple[Use, ...]]:
    """Return the certificate of a site that has just left, and where models without it can begin.

    Called again, it certifies the same withdrawal with what the models are now.

    Raises:
        ConfigError: the site never took part.
        TrustError: the register or a checkpoint isn't the coordinator's.
    """
    registry = admissions.registry
    if registry.standing(site).withdrawn is None:
        admissions.withdraw(site, reason)
    uses = tuple(uses_of(site, runs, registry.key.verifying_key))
    standing = registry.standing(site)
    certificate = SiteWithdrawal(
        federation=federation,
        site=site,
        identity=IdentityKeys(registry)[site].fingerprint,
        reason=standing.withdrawn or "",
        at=standing.since,
        register=Digest(registry.last_line(site)),
        models=tuple(use.model for use in uses),
    )
    return certificate, uses
