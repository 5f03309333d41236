"""What can happen to a site's enrolment, and how it is written: a signed line that names the one before it.

    SiteInvited {"fact":{...},"signature":"..."}

The coordinator's key signs, so that nobody who can only write files lets a site in. A line that was taken
out or moved breaks the chain; lines cut off at the end don't, and are the audit log's to notice.
"""

from dataclasses import dataclass

from fed_common import signed_fact
from fed_common.errors import TrustError
from fed_common.names import Digest, SiteName
from fed_common.pki.enrolment import EnrolmentRequest
from fed_common.signing import SigningKey, VerifyingKey


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Which site, when in seconds since 1970, and the digest of the line before, empty at the first."""

    site: SiteName
    at: int
    previous: str


@dataclass(frozen=True, kw_only=True)
class SiteInvited:
    """A secret was handed out; what is kept checks proofs and doesn't give it away."""

    entry: Entry
    proof_key: Digest
    expires: int


@dataclass(frozen=True, kw_only=True)
class InvitationTried:
    """Somebody answered the invitation without knowing its secret."""

    entry: Entry


@dataclass(frozen=True, kw_only=True)
class SiteRequested:
    """Somebody who knew the secret, or held the certificate to renew, asked for a certificate."""

    entry: Entry
    request: EnrolmentRequest


@dataclass(frozen=True, kw_only=True)
class SiteCertified:
    """The request with this digest was granted; the certificate is PEM."""

    entry: Entry
    request: Digest
    certificate: str


@dataclass(frozen=True, kw_only=True)
class SiteRevoked:
    """Nothing that the site holds counts any longer."""

    entry: Entry
    reason: str


@dataclass(frozen=True, kw_only=True)
class SiteWithdrew:
    """The site left; nothing that it holds counts any longer, and no run may begin with it."""

    entry: Entry
    reason: str


RegistryEvent = SiteInvited | InvitationTried | SiteRequested | SiteCertified | SiteRevoked | SiteWithdrew
_KINDS: dict[str, type[RegistryEvent]] = {
    kind.__name__: kind
    for kind in (SiteInvited, InvitationTried, SiteRequested, SiteCertified, SiteRevoked, SiteWithdrew)
}


def encode_event(event: RegistryEvent, key: SigningKey) -> bytes:
    """Return the event as a signed line, without its end."""
    return b"%s %s" % (type(event).__name__.encode(), signed_fact.sign(event, key))


def decode_event(line: bytes, key: VerifyingKey) -> RegistryEvent:
    """Return the event of a line.

    Raises:
        MalformedMessageError: the line is no signed event.
        TrustError: it was not signed with `key`.
    """
    name, _, signed = line.partition(b" ")
    kind = _KINDS.get(name.decode("ascii", "replace"))
    if kind is None:
        raise TrustError(f"unknown event {name[:40]!r}")
    return signed_fact.verify(signed, kind, key)
