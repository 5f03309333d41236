"""Which of Flower's nodes is which site: one for each approved node key, known from its first call on."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fed_common.errors import TrustError
from fed_common.names import SiteName
from fed_common.pki.enrolment import node_key_pem
from fed_server.registry.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Looks the sites up in the register at every call; `create` makes a node for a key (PEM) in Flower."""

    registry: Registry
    create: Callable[[SiteName, bytes], int]
    _known: dict[bytes, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, site: SiteName, key: bytes) -> None:
        """See that Flower knows the site's node key (PEM).

        Raises:
            TrustError: it is already another site's.
        """
        with self._lock:
            if key not in self._known:
                try:
                    self._known[key] = self.create(site, key)
                except ValueError as error:
                    raise TrustError(f"the node key of {site} is already another site's") from error

    def ids(self, sites: Collection[SiteName]) -> dict[SiteName, int]:
        """Return the nodes of those that are enrolled and have called since."""
        keys = {site: self._key(site) for site in sites}
        return {site: self._known[key] for site, key in keys.items() if key in self._known}

    def strangers(self, sites: Collection[SiteName]) -> list[SiteName]:
        """Return those that aren't enrolled now."""
        return [site for site in sorted(sites) if self._key(site) is None]

    def _key(self, site: SiteName) -> bytes | None:
        keys = self.registry.standing(site).keys
        return node_key_pem(keys.node_key) if keys else None
