"""Says whether the privacy officer has signed what site.toml allows."""

import time

from fed_client.config import SiteConfig, verify_signature
from fed_client.doctor.check import Check, failed
from fed_common.errors import PrivacyError, TrustError


def check_signature(config: SiteConfig) -> Check:
    """Return whether the site would start with this policy."""
    try:
        statement = verify_signature(config)
    except (PrivacyError, TrustError) as error:
        return failed("signature", error, advice="the site won't start until the privacy officer has signed")
    day = time.strftime("%Y-%m-%d", time.gmtime(statement.signed))
    return Check(subject="signature", status="ok", found=f"the privacy officer signed this policy on {day}")
