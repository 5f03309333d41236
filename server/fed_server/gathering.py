"""Waits for sites to connect, so that no round is asked of too few of them."""

import time
from collections.abc import Callable

from fed_common.errors import QuorumError
from fed_common.names import SiteName
from fed_server.exchange import Exchange
from fed_server.journal import WaitingForSites
from fed_server.settings import QuorumTable

_POLL_S = 0.2


def gather(
    number: int,
    exchange: Exchange,
    *,
    cohort: frozenset[SiteName],
    quorum: QuorumTable,
    all_until: float,
    tell: Callable[[WaitingForSites], None],
) -> None:
    """Wait for a quorum of connected sites, and until `all_until` (monotonic seconds) for the others too.

    Raises:
        QuorumError: too few connected in the time that `quorum` allows.
    """
    give_up = time.monotonic() + quorum.wait_s
    told: frozenset[SiteName] | None = None
    while True:
        online = exchange.online() & cohort
        enough = len(online) >= quorum.sites
        if online == cohort or (enough and time.monotonic() >= all_until):
            return
        if time.monotonic() >= give_up:
            raise QuorumError(
                f"round {number}: {len(online)} of {quorum.sites} needed sites connected "
                f"within {quorum.wait_s:g} s"
            )
        if online != told:
            told = online
            tell(WaitingForSites(round=number, online=tuple(sorted(online)), quorum=quorum.sites))
        time.sleep(_POLL_S)
