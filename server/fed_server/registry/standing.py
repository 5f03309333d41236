"""Where a site stands after all that was written of it: invited, waiting, enrolled, revoked or withdrawn."""

from dataclasses import dataclass, replace
from typing import Literal

from fed_common.names import Digest, SiteName
from fed_common.pki.enrolment import EnrolmentRequest
from fed_server.registry.events import (
    InvitationTried,
    RegistryEvent,
    SiteCertified,
    SiteInvited,
    SiteRequested,
    SiteRevoked,
    SiteWithdrew,
)

MAX_TRIES = 5
# A renewed certificate's predecessor is still on open connections; older ones are nobody's.
_CERTIFICATES_IN_FORCE = 2

State = Literal["unknown", "invited", "waiting", "enrolled", "revoked", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is in force for a site; `keys` are those of the granted request, `certificates` PEM, newest last.

    `request` waits for approval; `granted` is the digest of the last one that was granted. `identity` is the
    key that was approved last (PEM), also of a site that was revoked or withdrew since: its earlier answers
    stay its own. `withdrawn` is why it withdrew and `since` when, until it has enrolled anew.
    """

    site: SiteName
    invitation: SiteInvited | None = None
    tries: int = 0
    request: EnrolmentRequest | None = None
    keys: EnrolmentRequest | None = None
    identity: str | None = None
    granted: Digest | None = None
    certificates: tuple[str, ...] = ()
    revoked: str | None = None
    withdrawn: str | None = None
    since: int = 0

    @property
    def state(self) -> State:
        """Return the one word for it."""
        if self.keys is not None:
            return "enrolled"
        if self.request is not None:
            return "waiting"
        if self.invitation is not None:
            return "invited"
        if self.withdrawn is not None:
            return "withdrawn"
        return "revoked" if self.revoked is not None else "unknown"

    def invitation_at(self, now: float) -> SiteInvited | None:
        """Return the invitation if it can still be answered."""
        open_now = self.invitation is not None and now < self.invitation.expires and self.tries < MAX_TRIES
        return self.invitation if open_now else None

    def after(self, event: RegistryEvent) -> "Standing":
        """Return where the site stands once `event` has happened."""
        match event:
            case SiteInvited():
                return replace(self, invitation=event, tries=0, request=None)
            case InvitationTried():
                return replace(self, tries=self.tries + 1)
            case SiteRequested():
                return replace(self, invitation=None, request=event.request)
            case SiteCertified():
                certificates = (*self.certificates, event.certificate)[-_CERTIFICATES_IN_FORCE:]
                return replace(
                    self,
                    request=None,
                    keys=self.request,
                    identity=self.request.identity if self.request else None,
                    granted=event.request,
                    certificates=certificates,
                    revoked=None,
                    withdrawn=None,
                )
            case SiteRevoked():
                return Standing(
                    site=self.site,
                    identity=self.identity,
                    revoked=event.reason,
                    withdrawn=self.withdrawn,
                    since=self.since,
                )
            case SiteWithdrew():
                return Standing(
                    site=self.site, identity=self.identity, withdrawn=event.reason, since=event.entry.at
                )
