"""The sites' identity keys as the round engine wants them: by name, as the register has them now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fed_common.names import SiteName
from fed_common.signing import VerifyingKey
from fed_server.registry.registry import Registry


@dataclass(frozen=True)
class IdentityKeys(Mapping[SiteName, VerifyingKey]):
    """The key that was approved last for each site; that a revoked one isn't heard is the exchange's part."""

    registry: Registry

    def __getitem__(self, site: SiteName) -> VerifyingKey:
        """Return the site's key."""
        identity = self.registry.standing(site).identity
        if identity is None:
            raise KeyError(site)
        return VerifyingKey.from_pem(identity.encode())

    def __iter__(self) -> Iterator[SiteName]:
        """Yield the sites that were ever enrolled."""
        return (site for site in self.registry.sites() if self.registry.standing(site).identity is not None)

    def __len__(self) -> int:
        """Return how many they are."""
        return sum(1 for _ in self)
