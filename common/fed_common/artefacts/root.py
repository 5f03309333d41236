"""Whom the user of a model trusts: the coordinator's key, the sites' keys, and how many of them must agree.

The file is made once by the coordinator; whoever uses it reads its digest to somebody they know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fed_common import canonical
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.names import Digest, SiteName, site_name
from fed_common.signing import VerifyingKey


@dataclass(frozen=True, kw_only=True)
class SiteKey:
    """The key with which a site signs, 32 bytes in hexadecimal."""

    site: SiteName
    identity: str

    def __post_init__(self) -> None:
        site_name(self.site)


@dataclass(frozen=True, kw_only=True)
class ModelRoot:
    """The root of trust of one federation's models; keys are 32 bytes in hexadecimal."""

    version: Literal[1] = 1
    federation: str
    coordinator: str
    sites: tuple[SiteKey, ...]
    threshold: int

    def __post_init__(self) -> None:
        names = {key.site for key in self.sites}
        keys = {self.coordinator, *(key.identity for key in self.sites)}
        if len(names) != len(self.sites) or len(keys) != len(self.sites) + 1:
            raise ConfigError("every site must have one key of its own")
        if not 1 <= self.threshold <= len(self.sites):
            raise ConfigError(f"threshold must be in [1, {len(self.sites)}], got {self.threshold}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `fed-server trust` wrote.

        Raises:
            TrustError: it can't be read, or is none.
        """
        try:
            root = canonical.decode(path.read_bytes().removesuffix(b"\n"), cls)
            root.site_keys  # noqa: B018 (all keys must be keys)
            root.coordinator_key  # noqa: B018
        except (OSError, MalformedMessageError, TrustError) as error:
            raise TrustError(f"{path}: not a readable root of trust") from error
        return root

    @property
    def digest(self) -> Digest:
        """Identify the root, for people to compare."""
        return canonical.digest(self)

    @property
    def coordinator_key(self) -> VerifyingKey:
        """Return the key with which releases and manifests are signed."""
        return VerifyingKey.from_hex(self.coordinator)

    @property
    def site_keys(self) -> Mapping[SiteName, VerifyingKey]:
        """Return the keys of those who co-sign."""
        return {key.site: VerifyingKey.from_hex(key.identity) for key in self.sites}
