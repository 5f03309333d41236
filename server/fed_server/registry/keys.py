"""The sites' identity keys as they are wanted: by name, as the register has them now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fed_common.names import SiteName
from fed_common.signing import VerifyingKey
from fed_server.registry.registry import Registry


@dataclass(frozen=True)
class IdentityKeys(Mapping[SiteName, VerifyingKey]):
    """The key that was approved last for each site, or only for those that are `enrolled` now.

    Who was revoked or withdrew answers nothing any more, but what it signed before stays its own.
    """

    registry: Registry
    enrolled: bool = False

    def __getitem__(self, site: SiteName) -> VerifyingKey:
        """Return the site's key."""
        standing = self.registry.standing(site)
        if standing.identity is None or (self.enrolled and standing.state != "enrolled"):
            raise KeyError(site)
        return VerifyingKey.from_pem(standing.identity.encode())

    def __iter__(self) -> Iterator[SiteName]:
        """Yield the sites that have one."""
        return (site for site in self.registry.sites() if site in self)

    def __len__(self) -> int:
        """Return how many they are."""
        return sum(1 for _ in self)
