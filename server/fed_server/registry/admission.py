"""How a site gets in and out: invited, asked, approved by a person, renewed by itself, revoked.

A request is answered in this order, under the lock of the site's file:

1. it is for this federation and this CA, and its sender holds the keys that it names;
2. the same request again is a question whether it was granted, and changes nothing;
3. an invitation is open: not answered yet, not expired, not tried too often;
4. its sender knows the secret; who doesn't costs the invitation a try;
5. its keys are no other site's, nor its identity that of one that left: nobody counts twice.
"""

import os
import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fed_common.errors import ConfigError, TrustError
from fed_common.names import SiteName
from fed_common.pki.certificates import federation_of, fingerprint
from fed_common.pki.enrolment import SECRET_BYTES, EnrolmentRequest, proof_key, verified_request
from fed_server.authority.authority import Authority
from fed_server.registry.events import (
    Entry,
    InvitationTried,
    RegistryEvent,
    SiteCertified,
    SiteInvited,
    SiteRequested,
    SiteRevoked,
    SiteWithdrew,
)
from fed_server.registry.registry import Registry
from fed_server.registry.standing import MAX_TRIES, Standing


@dataclass(frozen=True, kw_only=True)
class Admissions:
    """Writes into the register what people and sites decide; `ca` is the certificate that sites pin."""

    registry: Registry
    ca: x509.Certificate

    def invite(self, site: SiteName, *, ttl_s: float) -> bytes:
        """Return the secret of a new invitation, in place of an open one; only its digest is kept.

        Raises:
            ConfigError: the site is enrolled.
        """
        secret = os.urandom(SECRET_BYTES)

        def decision(standing: Standing, entry: Entry) -> RegistryEvent:
            if standing.keys is not None:
                raise ConfigError(f"{site} is enrolled already; `fed-server revoke {site}` it first")
            return SiteInvited(entry=entry, proof_key=proof_key(secret), expires=int(time.time() + ttl_s))

        self.registry.decide(site, decision)
        return secret

    def ask(self, raw: bytes) -> Standing:
        """Take a request in, or look whether it was granted; see the module's order.

        Raises:
            MalformedMessageError: it is no request.
            TrustError: it is refused; the text may be told to whoever asked.
        """
        request = self._for_us(raw)  # 1
        if self.registry.standing(request.site).state == "unknown":
            raise TrustError(f"nobody invited {request.site[:63]}")  # and a stranger's name makes no file

        def decision(standing: Standing, entry: Entry) -> RegistryEvent | None:
            if _is_known(request, standing):
                return None  # 2
            invitation = standing.invitation_at(entry.at)
            if invitation is None:  # 3
                raise TrustError(f"no invitation is open for {request.site}: used, expired, or never made")
            if not request.is_proven_with(invitation.proof_key):  # 4
                return InvitationTried(entry=entry)
            self._refuse_keys_in_use(request)  # 5
            return SiteRequested(entry=entry, request=request)

        standing = self.registry.decide(request.site, decision)
        if not _is_known(request, standing):
            left = MAX_TRIES - standing.tries
            raise TrustError(f"not the secret of {request.site}'s invitation; {left} tries are left")
        return standing

    def renew(self, raw: bytes, caller: SiteName, authority: Authority | None) -> Standing:
        """Take in the request of an enrolled site for its next certificate; grant it if the CA's key is here.

        Raises:
            MalformedMessageError: it is no request.
            TrustError: it is another site's, or would change the keys that were approved.
        """
        request = self._for_us(raw)

        def decision(standing: Standing, entry: Entry) -> RegistryEvent | None:
            if request.site != caller or standing.keys is None or not _same_keys(request, standing.keys):
                raise TrustError(
                    f"a renewal must be of {caller}, with the identity and node key that were approved"
                )
            return None if _is_known(request, standing) else SiteRequested(entry=entry, request=request)

        standing = self.registry.decide(caller, decision)
        return self.approve(caller, authority, words="") if standing.request and authority else standing

    def approve(self, site: SiteName, authority: Authority, *, words: str) -> Standing:
        """Grant the request that waits, if `words` are what a person there has read; a renewal needs none.

        Raises:
            ConfigError: none waits.
            TrustError: other words, or `authority` is another CA than the one that the site has pinned.
        """

        def decision(standing: Standing, entry: Entry) -> RegistryEvent:
            if standing.request is None:
                raise ConfigError(f"no request of {site} waits for approval; it is {standing.state}")
            if standing.keys is None and words.lower().split() != standing.request.words.split():
                raise TrustError(
                    f"not the words of {site}'s request: it is another's, or was changed on its way"
                )
            if fingerprint(authority.certificate) != standing.request.ca:
                raise TrustError("the request is for another CA")
            self._refuse_keys_in_use(standing.request)  # two sites' requests can come in one moment
            certificate = authority.certify_site(site, standing.request.csr)
            return SiteCertified(
                entry=entry,
                request=standing.request.digest,
                certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
            )

        return self.registry.decide(site, decision)

    def revoke(self, site: SiteName, reason: str) -> Standing:
        """Shut the site out: certificates, keys, invitation and waiting request.

        Raises:
            ConfigError: there is nothing to revoke.
        """

        def decision(standing: Standing, entry: Entry) -> RegistryEvent:
            if standing.state in ("unknown", "revoked", "withdrawn"):
                raise ConfigError(f"{site} is {standing.state}: nothing to revoke")
            return SiteRevoked(entry=entry, reason=reason)

        return self.registry.decide(site, decision)

    def withdraw(self, site: SiteName, reason: str) -> Standing:
        """Write down that a site left; it is shut out as by `revoke`, also where it was revoked before.

        Raises:
            ConfigError: it never took part, or left before.
        """

        def decision(standing: Standing, entry: Entry) -> RegistryEvent:
            if standing.identity is None or standing.withdrawn is not None:
                raise ConfigError(f"{site} never took part, or left before: nothing to withdraw")
            return SiteWithdrew(entry=entry, reason=reason)

        return self.registry.decide(site, decision)

    def _refuse_keys_in_use(self, request: EnrolmentRequest) -> None:
        for site in self.registry.sites():
            standing = self.registry.standing(site)
            for other in (standing.keys, standing.request):
                if site != request.site and other is not None and _share_a_key(request, other):
                    raise TrustError(f"the identity or node key of {request.site} is already another site's")
            # What a site signed before it was shut out stays its own, so nobody else signs with its key.
            if site != request.site and request.identity == standing.identity:
                raise TrustError(f"the identity key of {request.site} was {site}'s")

    def _for_us(self, raw: bytes) -> EnrolmentRequest:
        request = verified_request(raw)
        if (request.federation, request.ca) != (federation_of(self.ca), fingerprint(self.ca)):
            raise TrustError(
                f"this is the CA of federation {federation_of(self.ca)}; the request is for another"
            )
        return request


def _is_known(request: EnrolmentRequest, standing: Standing) -> bool:
    return request.digest == standing.granted or request == standing.request


def _share_a_key(one: EnrolmentRequest, other: EnrolmentRequest) -> bool:
    return one.identity == other.identity or one.node_key.split()[:2] == other.node_key.split()[:2]


def _same_keys(request: EnrolmentRequest, approved: EnrolmentRequest) -> bool:
    return (request.identity, request.node_key) == (approved.identity, approved.node_key)
