"""Lets the sites throw a candidate away that is worse on their own patients, whoever made it worse.

A site finds a candidate worse if its AUC is lower than that of the last one that stood, of those that this
site measured, by more than the 95 % interval of their difference, which holds the noise of both counts, and
more than the chance of which patients there are: these are the same. So noise alone makes a site say so once
in 40 evaluations at most. A candidate falls if the sites that find it worse have more than half of all
patients, and are two at least. A site that can't tell doesn't find it worse.

A candidate that as many have measured as could let it fall, and didn't, stands. With fewer it is only
published: the answer of a few must not make the others forget what they found before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import hypot

from fed_common.metrics import Estimate
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_common.vote import Rollback, SiteAuc, Standing
from fed_server.journal import SiteFigures
from fed_server.settings import MIN_VOTERS


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What came of a vote: what stands after it, and the rollback if the candidate fell."""

    standing: Standing | None
    rollback: Rollback | None = None


NO_VOTE = Vote(standing=None)


def count_votes(
    number: int, standing: Standing | None, figures: Sequence[SiteFigures], cohort: Sequence[SiteTerms]
) -> Vote:
    """Return what the sites' figures of round `number`'s candidate decide; see the module's rules."""
    before = {found.site: found.auc for found in standing.aucs} if standing else {}
    now = {row.site: row.figures.auc for row in figures if row.site and row.figures.auc}
    worse = tuple(site for site, auc in now.items() if site in before and _is_lower(auc, before[site]))
    if standing is not None and _is_majority(worse, cohort):
        return Vote(standing=standing, rollback=Rollback(to=standing.round, worse=worse))
    if not _is_majority(now, cohort):
        return Vote(standing=standing)
    aucs = (SiteAuc(site=site, auc=auc) for site, auc in sorted((before | now).items()))
    return Vote(standing=Standing(round=number, aucs=tuple(aucs)))


def _is_lower(auc: Estimate, before: Estimate) -> bool:
    return before.value - auc.value > hypot(_half(auc), _half(before))


def _half(auc: Estimate) -> float:
    """Return half the interval's width; one end may have been cut off at 0 or 1."""
    return max(auc.high - auc.value, auc.value - auc.low)


def _is_majority(sites: Collection[SiteName], cohort: Sequence[SiteTerms]) -> bool:
    patients = sum(site.patients for site in cohort if site.name in sites)
    return len(sites) >= MIN_VOTERS and 2 * patients > sum(site.patients for site in cohort)
