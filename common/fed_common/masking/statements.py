"""What sites tell each other in a session, through the coordinator: signed facts, and lists of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fed_common import signed_fact
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.names import Digest, SiteName
from fed_common.signing import SigningKey, VerifyingKey


@dataclass(frozen=True, kw_only=True)
class Advertisement:
    """A site's public keys of one session, and the digest that a restored self seed must have."""

    site: SiteName
    plan: Digest
    session: str
    sealing_key: str
    mask_key: str
    self_seed: Digest


@dataclass(frozen=True, kw_only=True)
class SealedShares:
    """The shares of a dealer's two secrets for one holder, sealed together."""

    holder: SiteName
    sealed: str


@dataclass(frozen=True, kw_only=True)
class Dealing:
    """All shares that a site deals; with it the site signs that it will mask among this roster alone."""

    site: SiteName
    roster: Digest
    shares: tuple[SealedShares, ...]


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """Whose masked updates the coordinator has, as it says, and whose it hasn't."""

    roster: Digest
    alive: tuple[SiteName, ...]
    dropped: tuple[SiteName, ...]


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A site's word that it unmasks for these survivors and no others."""

    site: SiteName
    survivors: Survivors


@dataclass(frozen=True, kw_only=True)
class RevealedShare:
    """One share of another site's secret, in hexadecimal."""

    dealer: SiteName
    share: str


@dataclass(frozen=True, kw_only=True)
class Revelation:
    """A site's shares of the survivors' self seeds and of the others' mask keys: never both of one site."""

    site: SiteName
    roster: Digest
    self_seeds: tuple[RevealedShare, ...]
    mask_keys: tuple[RevealedShare, ...]


Signed = TypeVar("Signed", Advertisement, Dealing, Confirmation, Revelation)


def sign_line(fact: Advertisement | Dealing | Confirmation | Revelation, key: SigningKey) -> bytes:
    """Return the fact as one line that names its site and bears its signature."""
    return b"%s %s" % (fact.site.encode("ascii"), signed_fact.sign(fact, key))


def read_lines(
    body: bytes, kind: type[Signed], keys: Mapping[SiteName, VerifyingKey]
) -> dict[SiteName, Signed]:
    """Return each site's fact, after its signature was checked with that site's key.

    Raises:
        MalformedMessageError: a line is no such fact, or a site has two.
        TrustError: a site is unknown, or didn't sign what it is said to.
    """
    facts: dict[SiteName, Signed] = {}
    for line in body.split(b"\n"):
        name, _, signed = line.partition(b" ")
        site = SiteName(name.decode("ascii", "replace"))
        if site not in keys:
            raise TrustError(f"{site[:63]!r} is no member of this masked sum")
        fact = signed_fact.verify(signed, kind, keys[site])
        if fact.site != site:
            raise TrustError(f"{site} signed in the name of {fact.site[:63]!r}")
        if site in facts:
            raise MalformedMessageError(f"{site} is in the list twice")
        facts[site] = fact
    return facts


def join_lines(lines: Iterable[bytes]) -> bytes:
    """Return the lines as they travel together."""
    return b"\n".join(lines)
