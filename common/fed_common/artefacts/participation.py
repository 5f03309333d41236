"""Who a model was made of: without it, nobody could say which models a site that leaves has been part of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fed_common.names import Digest, RunId, SiteName


@dataclass(frozen=True, kw_only=True)
class SiteRounds:
    """In how many rounds a site's update is in the model, the first of them and the last."""

    site: SiteName
    rounds: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """The checkpoint whose parameters a run began with, and the sites that these are made of."""

    run: RunId
    round: int
    checkpoint: Digest
    sites: tuple[SiteName, ...]


def trained_after(
    number: int, sites: Iterable[SiteName], before: Sequence[SiteRounds]
) -> tuple[SiteRounds, ...]:
    """Return who the model is made of after round `number`, to which `sites` added."""
    known = {so_far.site: so_far for so_far in before}
    for site in sites:
        so_far = known.get(site)
        known[site] = SiteRounds(
            site=site,
            rounds=so_far.rounds + 1 if so_far else 1,
            first=so_far.first if so_far else number,
            last=number,
        )
    return tuple(known[site] for site in sorted(known))
