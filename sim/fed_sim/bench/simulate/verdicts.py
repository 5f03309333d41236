"""Holds what was measured against what was aimed at; where a peer is absent there is no verdict about it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fed_sim.bench.simulate.measure import BLAZEFL, FLOWER, OPACUS, OURS, OURS_PRIVATE, Measured


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One promise, with its bound: at least so much, or at most."""

    promise: str
    found: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Tell whether it is kept; compared so that what is no number isn't."""
        if self.at_least is not None:
            return self.found >= self.at_least
        return self.at_most is not None and self.found <= self.at_most


def verdicts(rows: Sequence[Measured]) -> Iterator[Verdict]:
    """Yield the promises about which there are figures."""
    found = {(row.way, row.sites, row.training): row for row in rows if not row.absent}
    pairs = (
        (FLOWER, OURS, "x Flower's speed", 3.0),
        (BLAZEFL, OURS, "x BlazeFL's speed", 1.5),
        (OPACUS, OURS_PRIVATE, "x the Opacus loop's speed, private", 2.0),
    )
    for peer, ours, promise, at_least in pairs:
        for sites in (100, 1000):
            if (other := found.get((peer, sites, sites))) and (own := found.get((ours, sites, sites))):
                ratio = other.site_ms / own.site_ms
                yield Verdict(promise=f"{sites} of {sites}: {promise}", found=ratio, at_least=at_least)
    own_rows = [row for row in found.values() if row.way == OURS]
    if own_rows:
        start_s = max((row.start_s for row in own_rows if row.training == 10), default=math.nan)
        if not math.isnan(start_s):
            yield Verdict(
                promise="s from the start to the end of round 1, 10 sites", found=start_s, at_most=4
            )
        yield Verdict(promise="MB at most", found=max(row.peak_mb for row in own_rows), at_most=700)
    every, few, all_few = (found.get((OURS, *case)) for case in ((1000, 1000), (1000, 100), (100, 100)))
    if every and all_few:
        ratio = every.site_ms / all_few.site_ms
        yield Verdict(promise="a site's time among 1,000, to that among 100", found=ratio, at_most=1.1)
    if few and all_few:
        ratio = few.site_ms / all_few.site_ms
        yield Verdict(promise="a site's time with 900 that don't train, to none", found=ratio, at_most=1.1)
