"""Who masks with whom: the list that all sites of a session sign before any of them masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fed_common import canonical
from fed_common.errors import TrustError
from fed_common.masking.statements import Advertisement, Survivors, read_lines
from fed_common.masking.terms import MIN_MEMBERS, threshold_of
from fed_common.messages import RoundPlan
from fed_common.names import Digest, SiteName


@dataclass(frozen=True, kw_only=True)
class _Advertised:
    advertisements: tuple[Advertisement, ...]


@dataclass(frozen=True)
class Roster:
    """The members of one session, by name, each with its keys."""

    members: Mapping[SiteName, Advertisement]

    @classmethod
    def read(cls, body: bytes, plan: RoundPlan, session: str, *, minimum: int = MIN_MEMBERS) -> "Roster":
        """Return the roster that signed advertisements make.

        Raises:
            TrustError: fewer than `minimum` sites advertise, one isn't the plan's, didn't sign its keys for
                this very plan and session, or has a key that another one has.
            MalformedMessageError: it is no list of advertisements.
        """
        if plan.masking is None:
            raise TrustError("the plan asks for no masks")
        found = read_lines(body, Advertisement, plan.masking.keys)
        if not len(found) >= minimum:
            raise TrustError(f"{len(found)} sites would be summed, at least {minimum} must be")
        for site, advertised in found.items():
            if (advertised.plan, advertised.session) != (plan.digest, session):
                raise TrustError(f"{site} advertised its keys for another plan or session")
        public = [key for one in found.values() for key in (one.sealing_key, one.mask_key)]
        if len(set(public)) < len(public):
            raise TrustError("two session keys are the same")
        return cls({site: found[site] for site in sorted(found)})

    @cached_property
    def digest(self) -> Digest:
        """Identify the roster: the plan, the session, and everybody's keys."""
        return canonical.digest(_Advertised(advertisements=tuple(self.members.values())))

    @property
    def threshold(self) -> int:
        """Return how many members can unmask."""
        return threshold_of(len(self.members))

    @cached_property
    def places(self) -> Mapping[SiteName, int]:
        """Return each member's number as a holder of shares."""
        return {site: number for number, site in enumerate(self.members, start=1)}

    def refuse_survivors(self, survivors: Survivors, *, minimum: int = MIN_MEMBERS) -> None:
        """Return only if the sum of the survivors may be unmasked.

        Raises:
            TrustError: alive and dropped overlap, aren't together the roster, or too few are alive.
        """
        alive, dropped = set(survivors.alive), set(survivors.dropped)
        if survivors.roster != self.digest:
            raise TrustError("the survivors are those of another roster")
        if alive & dropped:
            raise TrustError(f"{', '.join(sorted(alive & dropped))} can't be both alive and dropped")
        if len(survivors.alive) + len(survivors.dropped) != len(alive | dropped):
            raise TrustError("a survivor is named twice")
        if alive | dropped != set(self.members):
            raise TrustError("alive and dropped aren't together the roster")
        if not len(alive) >= max(self.threshold, minimum):
            raise TrustError(
                f"{len(alive)} of {len(self.members)} are alive, {max(self.threshold, minimum)} must be"
            )
