"""What masks cost: a whole session of real parties in one process, timed step by step.

Counted are the steps of one site and those of the coordinator, without training, encoding, hashing and the
line, all of which a plain round has, too. The sum is compared with that of integers.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import ParamSpec, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fed_client.masking.party import Party, TakeUpdate
from fed_common import canonical, fixedpoint, seeds
from fed_common.machine import settle_in
from fed_common.masking.ring import Ring
from fed_common.masking.roster import Roster
from fed_common.masking.statements import (
    Advertisement,
    Dealing,
    Revelation,
    Survivors,
    join_lines,
    read_lines,
)
from fed_common.masking.terms import MIN_MEMBERS, Masking, Member, threshold_of
from fed_common.names import SiteName
from fed_common.signing import SigningKey
from fed_server.masking.unmasking import MaskedSum
from fed_sim.bench.plans import CLIP, PATIENTS, bench_plan

CLIENT_TARGET_S, SERVER_TARGET_S, BYTES_TARGET = 0.2, 0.4, 1.1
SITES = (3, 5, 10)
_Told = TypeVar("_Told")
_With = ParamSpec("_With")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One session: `sites` in the roster, `dropped` of them lost before they masked.

    `bytes_ratio` is everything that one site sends and receives because of the masks, its masked update
    included, as parts of a plain update.
    """

    bits: int
    sites: int
    dropped: int
    client_s: float
    server_s: float
    bytes_ratio: float
    exact: bool

    @property
    def met(self) -> bool:
        """Tell whether the session was exact and as cheap as it should be."""
        cheap = self.client_s <= CLIENT_TARGET_S and self.server_s <= SERVER_TARGET_S
        return self.exact and cheap and self.bytes_ratio <= BYTES_TARGET


def measure(*, parameters: int, repeats: int) -> Iterator[Row]:
    """Yield a row for both rings, each number of sites, and no or as many drop-outs as can be."""
    settle_in()  # as daemons do
    rings = (Ring(bits=32, fraction_bits=16), Ring(bits=64, fraction_bits=32))
    for ring, sites in product(rings, SITES):
        for dropped in sorted({0, sites - max(MIN_MEMBERS, threshold_of(sites))}):
            rows = [_session(ring, sites, dropped, parameters) for _ in range(repeats)]
            yield Row(
                bits=ring.bits,
                sites=sites,
                dropped=dropped,
                client_s=float(np.percentile([row.client_s for row in rows], 20)),
                server_s=float(np.percentile([row.server_s for row in rows], 20)),
                bytes_ratio=rows[0].bytes_ratio,
                exact=all(row.exact for row in rows),
            )


@dataclass
class _Clock:
    """The processor time that one side has taken so far; another process on the machine doesn't add to it."""

    seconds: float = 0.0

    def timed(self, step: Callable[_With, _Told], *args: _With.args, **kwargs: _With.kwargs) -> _Told:
        start = time.thread_time()
        told = step(*args, **kwargs)
        self.seconds += time.thread_time() - start
        return told


def _session(ring: Ring, sites: int, dropped: int, parameters: int) -> Row:
    names = tuple(SiteName(f"site-{number:02d}") for number in range(sites))
    keys = {name: SigningKey(Ed25519PrivateKey.generate()) for name in names}
    public = {name: key.verifying_key for name, key in keys.items()}
    members = tuple(Member(site=name, identity=key.hex) for name, key in public.items())
    masking = Masking(members=members, ring=ring)
    plan = bench_plan(masking.keys, masking=masking)
    first, alive = names[0], names[: sites - dropped]
    # Of the site that is timed, of the coordinator, and of everybody else.
    site, server, others = _Clock(), _Clock(), _Clock()
    clock_of = {name: site if name == first else others for name in names}
    parties = {
        name: Party(site=name, key=key, plan=plan, masking=masking, session="bench", minimum=MIN_MEMBERS)
        for name, key in keys.items()
    }

    advertised = {name: clock_of[name].timed(party.advertise) for name, party in parties.items()}
    advertisements = join_lines(line for line, _ in advertised.values())
    server.timed(read_lines, advertisements, Advertisement, public)
    roster = server.timed(Roster.read, advertisements, plan, "bench")
    dealt = {
        name: clock_of[name].timed(state.share, advertisements) for name, (_, state) in advertised.items()
    }
    dealings = join_lines(line for line, _ in dealt.values())
    server.timed(read_lines, dealings, Dealing, public)

    total = server.timed(MaskedSum, ring, parameters)
    expected_P = np.zeros(parameters, dtype=np.int64)
    masked, sent = {}, 0
    for number, name in enumerate(alive):
        update_P = _update(ring, number, parameters)
        expected_P += PATIENTS * update_P
        vector, masked[name] = clock_of[name].timed(dealt[name][1].mask, dealings, _taking(update_P))
        server.timed(total.fold, vector)
        sent = len(vector)
    survivors = Survivors(roster=roster.digest, alive=alive, dropped=names[len(alive) :])
    body = canonical.encode(survivors)
    confirmed = {name: clock_of[name].timed(state.confirm, body) for name, state in masked.items()}
    confirmations = join_lines(line for line, _ in confirmed.values())
    revealed = join_lines(
        clock_of[name].timed(state.unmask, confirmations) for name, (_, state) in confirmed.items()
    )
    revelations = server.timed(read_lines, revealed, Revelation, public)
    sum_P = server.timed(total.unmask, roster, survivors, revelations)
    up = [advertised[first][0], dealt[first][0], confirmed[first][0], revealed.split(b"\n")[0]]
    down = [advertisements, dealings, body, confirmations]
    return Row(
        bits=ring.bits,
        sites=sites,
        dropped=dropped,
        client_s=site.seconds,
        server_s=server.seconds,
        bytes_ratio=(sent + sum(map(len, [*up, *down]))) / (fixedpoint.BYTES_PER_VALUE * parameters),
        exact=bool(np.array_equal(sum_P, expected_P)),
    )


def _taking(update_P: NDArray[np.int64]) -> TakeUpdate:
    return lambda: update_P


def _update(ring: Ring, number: int, parameters: int) -> NDArray[np.int64]:
    """Return whole steps of the grid up to the clip, as no single coordinate of an update can pass it."""
    limit = int(CLIP * ring.scale)
    return seeds.stream(number, "bench masking").integers(-limit, limit, parameters)
