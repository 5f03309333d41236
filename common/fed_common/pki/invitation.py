"""An invitation as the one line that the coordinator sends to a hospital, by a way that both trust.

    https://fed.example.org:8443/pneumonia/north/5ad8...e1/kX3v...

Address, federation, site, the fingerprint of the CA's certificate, and the secret that counts once.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Self

from fed_common.errors import ConfigError
from fed_common.names import Digest, SiteName, run_id, site_name

_FORM = re.compile(r"(https://[^/\s]+)/([^/\s]+)/([^/\s]+)/([0-9a-f]{64})/([A-Za-z0-9_-]{32})")


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What a site needs to be enrolled; whoever reads it first can try, so it is not shown in a log."""

    address: str
    federation: str
    site: SiteName
    ca: Digest
    secret: bytes

    @property
    def line(self) -> str:
        """Return the invitation as it is sent."""
        secret = urlsafe_b64encode(self.secret).decode("ascii")
        return "/".join((self.address, self.federation, self.site, self.ca, secret))

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the invitation that `line` is.

        Raises:
            ConfigError: it is none; the text doesn't repeat it.
        """
        parts = _FORM.fullmatch(line.strip())
        if parts is None:
            raise ConfigError("not an invitation; it looks like https://HOST:PORT/FEDERATION/SITE/CA/SECRET")
        address, federation, site, ca, secret = parts.groups()
        return cls(
            address=address,
            federation=run_id(federation),
            site=site_name(site),
            ca=Digest(ca),
            secret=urlsafe_b64decode(secret),
        )
