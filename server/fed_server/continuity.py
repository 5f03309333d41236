"""Holds each site to the ledger it has shown before: without it, a restored ledger could pass unseen.

A site's heads must be one growing chain. Another chain is a new budget, and that takes a reset which the
site's privacy officer has signed and which names the head that this coordinator saw last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fed_common.checkpoint import SitePrivacy
from fed_common.errors import TrustError
from fed_common.ledger_record import LedgerHead, SignedReset
from fed_common.messages import PrivacyStatement
from fed_common.names import Digest, SiteName
from fed_common.signing import VerifyingKey
from fed_server.screening import SiteFailure, SiteReply


@dataclass
class _Chain:
    """The heads of one ledger: the digest at each number of events, as stated."""

    reset: SignedReset | None
    heads: dict[int, Digest] = field(default_factory=dict)

    @property
    def last(self) -> LedgerHead:
        events = max(self.heads)
        return LedgerHead(events=events, digest=self.heads[events])


class Continuity:
    """What a coordinator knows of the ledgers; `officers` are the keys whose resets it accepts."""

    def __init__(self, officers: Mapping[SiteName, VerifyingKey], known: Iterable[SitePrivacy]) -> None:
        self._officers = officers
        self._chains: dict[SiteName, _Chain] = {}
        for stated in known:
            self.remember(stated.site, stated.privacy)

    def remember(self, site: SiteName, privacy: PrivacyStatement) -> None:
        """Take a statement for true: it was published, or passed `check`."""
        chain = self._chains.get(site)
        if chain is None or chain.reset != privacy.reset:
            chain = self._chains[site] = _Chain(reset=privacy.reset)
        chain.heads[privacy.ledger.events] = privacy.ledger.digest

    def check(self, reply: SiteReply) -> SiteReply:
        """Return the reply, or in its place the failure of a site whose ledger isn't the one seen before."""
        if isinstance(reply, SiteFailure):
            return reply
        if (failure := self._failure(reply.site, reply.privacy)) is not None:
            return failure
        self.remember(reply.site, reply.privacy)
        return reply

    def _failure(self, site: SiteName, privacy: PrivacyStatement) -> SiteFailure | None:
        chain = self._chains.get(site)
        known = chain.reset if chain else None
        if privacy.reset == known:
            seen = chain.heads.get(privacy.ledger.events) if chain else None
            if seen in (None, privacy.ledger.digest):
                return None
            detail = f"another ledger of {privacy.ledger.events} events was seen before"
            return SiteFailure(site=site, code="ledger-forked", detail=detail)
        if privacy.reset is None:
            return SiteFailure(
                site=site, code="ledger-forked", detail="it stated a reset before, and now none"
            )
        problem = self._problem(site, privacy.reset, chain)
        return SiteFailure(site=site, code="reset-refused", detail=problem) if problem else None

    def _problem(self, site: SiteName, opened: SignedReset, chain: _Chain | None) -> str:
        officer = self._officers.get(site)
        if officer is None:
            return "no officer's key is enrolled: [[sites]] officer"
        try:
            opened.verify(officer)
        except TrustError:
            return "the reset isn't signed by the site's privacy officer"
        if opened.reset.site != site:
            return f"the reset is that of {opened.reset.site}"
        if chain is not None and opened.reset.replaces != chain.last:
            named, last = opened.reset.replaces, chain.last
            return (
                f"the reset names {named.events}:{named.digest[:12]}, last seen was "
                f"{last.events}:{last.digest}"
            )
        return ""
