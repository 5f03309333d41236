"""The enrolled sites' keys as the round engine wants them: looked up by name, gone once a site is revoked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fed_common.names import SiteName
from fed_common.signing import VerifyingKey
from fed_server.registry.registry import Registry


@dataclass(frozen=True)
class IdentityKeys(Mapping[SiteName, VerifyingKey]):
    """The identity key of each enrolled site, as the register has it at the moment of asking."""

    registry: Registry

    def __getitem__(self, site: SiteName) -> VerifyingKey:
        """Return the site's key."""
        keys = self.registry.standing(site).keys
        if keys is None:
            raise KeyError(site)
        return VerifyingKey.from_pem(keys.identity.encode())

    def __iter__(self) -> Iterator[SiteName]:
        """Yield the enrolled sites."""
        return (site for site in self.registry.sites() if self.registry.standing(site).keys is not None)

    def __len__(self) -> int:
        """Return how many are enrolled."""
        return sum(1 for _ in self)
