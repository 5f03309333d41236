"""What a plan says about masks: who may take part, by which identity keys, and in which ring they add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fed_common.errors import ConfigError
from fed_common.masking.ring import Ring
from fed_common.names import SiteName
from fed_common.signing import VerifyingKey

# A sum of two is an open book to either of them.
MIN_MEMBERS = 3


def threshold_of(members: int) -> int:
    """Return how many of so many sites can unmask: two lists of survivors can't both be signed by as many."""
    return 2 * members // 3 + 1


def fewest_summed(members: int) -> int:
    """Return of how many of so many sites a sum is at least, whoever drops out."""
    return max(MIN_MEMBERS, threshold_of(members))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A site and the raw identity key, in hexadecimal, that vouches for its session keys."""

    site: SiteName
    identity: str


@dataclass(frozen=True, kw_only=True)
class Masking:
    """The masks of one round: part of its plan, so that all sites sign for the same."""

    members: tuple[Member, ...]
    ring: Ring

    def __post_init__(self) -> None:
        sites = {member.site for member in self.members}
        identities = {member.identity for member in self.members}
        if not len(self.members) >= MIN_MEMBERS:
            raise ConfigError(f"masked sums need at least {MIN_MEMBERS} sites, got {len(self.members)}")
        if len(sites) < len(self.members) or len(identities) < len(self.members):
            raise ConfigError("each member of a masked sum must be another site with another key")

    @cached_property
    def keys(self) -> Mapping[SiteName, VerifyingKey]:
        """Return the members' identity keys.

        Raises:
            TrustError: one is no key.
        """
        return {member.site: VerifyingKey.from_hex(member.identity) for member in self.members}
