"""Masked sessions for tests: sites with keys, a plan that they mask under, a courier that may lose any."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tests.fakes import new_key, plan_of

from fed_client.masking.party import Advertised, Confirmed, Dealt, Masked, Party
from fed_common import canonical
from fed_common.masking.ring import Ring, RingVector
from fed_common.masking.roster import Roster
from fed_common.masking.statements import Revelation, Survivors, join_lines, read_lines
from fed_common.masking.terms import Masking, Member, threshold_of
from fed_common.messages import RoundPlan
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_common.signing import SigningKey
from fed_server.masking.unmasking import MaskedSum

SESSION = "5e" * 16
PARAMETERS = 1000
RING = Ring(bits=32, fraction_bits=16)

Lines = dict[SiteName, bytes]


@cache
def key_of(site: SiteName) -> SigningKey:
    return new_key()


def names(count: int) -> tuple[SiteName, ...]:
    return tuple(SiteName(f"site-{number}") for number in range(count))


def masking_of(sites: Iterable[SiteName], ring: Ring = RING) -> Masking:
    members = tuple(Member(site=site, identity=key_of(site).verifying_key.hex) for site in sites)
    return Masking(members=members, ring=ring)


def masked_plan(count: int, *, ring: Ring = RING, number: int = 1) -> RoundPlan:
    """Return a plan for so many sites, the first with a weight of 3, the next of 4, and so on."""
    sites = names(count)
    cohort = tuple(SiteTerms(name=site, patients=3 + place) for place, site in enumerate(sites))
    return replace(plan_of(number=number), cohort=cohort, masking=masking_of(sites, ring))


def update_of(site: SiteName, *, parameters: int = PARAMETERS) -> NDArray[np.int64]:
    rng = np.random.default_rng(int(site.removeprefix("site-")))
    return rng.integers(-(2**16), 2**16, parameters)


def taking(site: SiteName) -> Callable[[], NDArray[np.int64]]:
    return lambda: update_of(site)


def expected_sum(plan: RoundPlan, alive: Iterable[SiteName]) -> NDArray[np.int64]:
    total = np.zeros(PARAMETERS, dtype=np.int64)
    for site in alive:
        terms = plan.site(site)
        assert terms is not None
        total += terms.patients * update_of(site)
    return total


@dataclass
class Courier:
    """Carries the steps between parties of one plan; every method takes the sites that still answer."""

    plan: RoundPlan
    session: str = SESSION
    minimum: int = 3

    def party(self, site: SiteName) -> Party:
        assert self.plan.masking is not None
        return Party(
            site=site,
            key=key_of(site),
            plan=self.plan,
            masking=self.plan.masking,
            session=self.session,
            minimum=self.minimum,
        )

    @property
    def sites(self) -> tuple[SiteName, ...]:
        return tuple(terms.name for terms in self.plan.cohort)

    def advertise(self, sites: Iterable[SiteName] | None = None) -> tuple[Lines, dict[SiteName, Advertised]]:
        told = {site: self.party(site).advertise() for site in sites or self.sites}
        return {site: line for site, (line, _) in told.items()}, {s: state for s, (_, state) in told.items()}

    def share(self) -> tuple[Lines, Lines, dict[SiteName, Dealt]]:
        lines, states = self.advertise()
        told = {site: state.share(join_lines(lines.values())) for site, state in states.items()}
        return lines, {site: line for site, (line, _) in told.items()}, {s: d for s, (_, d) in told.items()}

    def roster(self, advertised: Lines) -> Roster:
        return Roster.read(join_lines(advertised.values()), self.plan, self.session)

    def mask(self, alive: Iterable[SiteName] | None = None) -> "MaskedRound":
        advertised, dealings, dealt = self.share()
        body = join_lines(dealings.values())
        told = {site: dealt[site].mask(body, taking(site)) for site in alive or self.sites}
        return MaskedRound(
            roster=self.roster(advertised),
            vectors={site: vector for site, (vector, _) in told.items()},
            states={site: state for site, (_, state) in told.items()},
            ring=self.party(self.sites[0]).ring,
        )


@dataclass
class MaskedRound:
    """The masked updates are there; what follows is confirming and unmasking."""

    roster: Roster
    vectors: Mapping[SiteName, bytes]
    states: Mapping[SiteName, Masked]
    ring: Ring

    @property
    def survivors(self) -> Survivors:
        dropped = tuple(site for site in self.roster.members if site not in self.vectors)
        return Survivors(roster=self.roster.digest, alive=tuple(self.vectors), dropped=dropped)

    def confirm(self, sites: Iterable[SiteName] | None = None) -> tuple[Lines, dict[SiteName, Confirmed]]:
        body = canonical.encode(self.survivors)
        told = {site: self.states[site].confirm(body) for site in sites or self.vectors}
        return {site: line for site, (line, _) in told.items()}, {s: c for s, (_, c) in told.items()}

    def unmask(
        self, *, confirming: Iterable[SiteName] | None = None, revealing: Iterable[SiteName] | None = None
    ) -> NDArray[np.int64]:
        lines, confirmed = self.confirm(confirming)
        body = join_lines(lines.values())
        revealed = [confirmed[site].unmask(body) for site in revealing or confirmed]
        keys = {site: key_of(site).verifying_key for site in self.roster.members}
        return self.summed().unmask(
            self.roster, self.survivors, read_lines(join_lines(revealed), Revelation, keys)
        )

    def summed(self) -> MaskedSum:
        total = MaskedSum(self.ring, len(next(iter(self.vectors.values()))) // self.ring.dtype.itemsize)
        for vector in self.vectors.values():
            total.fold(vector)
        return total


def elements(raw: bytes, ring: Ring = RING) -> RingVector:
    return ring.from_bytes(raw, size=len(raw) // ring.dtype.itemsize)


def enough(count: int) -> int:
    return max(3, threshold_of(count))
