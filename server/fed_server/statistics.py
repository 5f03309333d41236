"""Turns what the sites released about their patients into the run's public constants, and says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fed_common.names import SiteName
from fed_common.plans import TrainTerms
from fed_common.statistics import PatientCounts
from fed_server.journal import SiteStatistics, StatisticsGathered


def fix_constants(
    terms: TrainTerms, counts: Mapping[SiteName, PatientCounts] | None, *, several_labels: bool, quorum: int
) -> tuple[TrainTerms, StatisticsGathered]:
    """Return the terms with what the sum of all sites says, and the event that tells it.

    Without `counts`, because fewer than `quorum` sites answered, and where noise hides something, the terms
    keep their usual constants.
    """
    reasons: list[str] = []
    rows: tuple[SiteStatistics, ...] = ()
    if counts is None:
        reasons.append(f"fewer than the {quorum} needed sites answered")
    else:
        together = _sum(list(counts.values()))
        rows = (_row(None, together), *(_row(site, counts[site]) for site in sorted(counts)))
        if (measured := together.normalisation()) is None:
            reasons.append("the noise hides the greys")
        if not (weights := together.class_weights(several_labels=several_labels)):
            reasons.append("the noise hides the classes")
        terms = replace(terms, normalisation=measured or terms.normalisation, class_weights=weights)
    return terms, StatisticsGathered(
        sites=rows,
        normalisation=terms.normalisation,
        class_weights=terms.class_weights,
        not_measured="; ".join(reasons),
    )


def _sum(counts: Sequence[PatientCounts]) -> PatientCounts:
    total, *others = counts
    for other in others:
        total = total + other
    return total


def _row(site: SiteName | None, counts: PatientCounts) -> SiteStatistics:
    return SiteStatistics(
        site=site,
        classes=counts.classes(),
        class_margin=counts.class_margin(),
        greys=counts.grey_shares(),
        grey_margin=counts.grey_margin(),
    )
