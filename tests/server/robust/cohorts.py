"""A cohort of any size, and one round of a rule over updates that are given as numbers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tests.fakes import TRAIN, plan_of, privacy_of

from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.messages import RoundPlan
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_server.aggregation import AggregationRule
from fed_server.averaging import MeanUpdate
from fed_server.screening import Contribution


def names_of(number: int) -> tuple[SiteName, ...]:
    return tuple(SiteName(f"site-{place:02d}") for place in range(number))


def plan_for(patients: Sequence[int]) -> RoundPlan:
    sites = zip(names_of(len(patients)), patients, strict=True)
    cohort = tuple(SiteTerms(name=name, patients=size) for name, size in sites)
    return replace(plan_of(replace(TRAIN, update_clip=100.0)), cohort=cohort)


def contribution(site: SiteName, values_P: NDArray[np.int64]) -> Contribution:
    return Contribution(
        site=site,
        values=values_P,
        noise_multiplier=1.0,
        tightened=None,
        privacy=privacy_of(),
        log=EMPTY_LOG,
    )


def combined(
    rule: AggregationRule[MeanUpdate],
    updates_NP: NDArray[np.float64],
    *,
    patients: Sequence[int] = (),
    order: Sequence[int] = (),
) -> MeanUpdate:
    """Return what the rule makes of the updates, of sites of equal size that answer in `order`."""
    number = len(updates_NP)
    opened = rule.open(plan_for(patients or [100] * number))
    for place in order or range(number):
        opened.fold(contribution(names_of(number)[place], fixedpoint.to_fixed(updates_NP[place])))
    return opened.close()
