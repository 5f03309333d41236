"""Says what came of a phase in the words of journal and manifest."""

from collections.abc import Iterable, Mapping, Sequence

from fed_common.checkpoint import Checkpoint, SitePrivacy
from fed_common.messages import PrivacyStatement, RoundPlan
from fed_common.metrics import EvaluationCounts
from fed_common.names import SiteName
from fed_common.noised_figures import noised_figures
from fed_common.plans import SiteTerms
from fed_server.journal import RoundPublished, RunEvent, SiteAnswered, SiteFailed, SiteFigures
from fed_server.rounds import RoundOutcome
from fed_server.screening import SiteFailure, SiteReply


def latest_privacy(known: Sequence[SitePrivacy], outcome: RoundOutcome[object]) -> tuple[SitePrivacy, ...]:
    """Return each site's last statement; a refusal's counts where nothing better is known.

    A site that refuses because its ledger is older than its witness states that older head: as the new
    witness, it would let the same ledger pass in the next round.
    """
    latest: dict[SiteName, PrivacyStatement] = {
        failure.site: failure.privacy for failure in outcome.failures if failure.privacy
    }
    latest.update({stated.site: stated.privacy for stated in known})
    latest.update(outcome.answered)
    return tuple(SitePrivacy(site=site, privacy=latest[site]) for site in sorted(latest))


def share_of(included: Iterable[SiteName], cohort: Sequence[SiteTerms]) -> float:
    """Return which share of all patients, by their public size classes, the included sites have."""
    weights = {site.name: site.patients for site in cohort}
    return sum(weights[site] for site in included) / sum(weights.values())


def stated_before(
    known: Sequence[SitePrivacy], told: Iterable[RunEvent], *, number: int
) -> tuple[SitePrivacy, ...]:
    """Return `known` with what sites stated when they evaluated round `number`, which a crash broke off.

    One that is away when it is asked again has charged for it all the same, and co-signs nothing else.
    """
    latest = {stated.site: stated for stated in known}
    for event in told:
        if isinstance(event, SiteAnswered) and (event.round, event.phase) == (number, "evaluate"):
            latest[event.site] = SitePrivacy(site=event.site, privacy=event.privacy)
    return tuple(latest[site] for site in sorted(latest))


def figures_of(counts: Mapping[SiteName, EvaluationCounts]) -> tuple[SiteFigures, ...]:
    """Return the figures of all sites together, then of each."""
    if not counts:
        return ()
    total, *others = counts.values()
    for other in others:
        total = total + other
    rows: list[tuple[SiteName | None, EvaluationCounts]] = [(None, total), *sorted(counts.items())]
    return tuple(SiteFigures(site=site, figures=noised_figures(c)) for site, c in rows)


def kept_back(current: Checkpoint, told: Iterable[RunEvent]) -> RoundPublished | None:
    """Return the round that was published when a crash came, but is not in the journal yet."""
    published = (event.round for event in told if isinstance(event, RoundPublished))
    if current.manifest.round <= max(published, default=0):
        return None
    return RoundPublished(
        round=current.manifest.round,
        seconds=0.0,
        sites=tuple(t.site for t in current.manifest.trained if t.last == current.manifest.round),
        test=current.manifest.test,
        federated=(),
        checkpoint=current.digest,
    )


def as_event(plan: RoundPlan, reply: SiteReply) -> SiteAnswered | SiteFailed:
    """Return what the journal tells of a site's reply."""
    if isinstance(reply, SiteFailure):
        return SiteFailed(
            round=plan.round, phase=plan.phase, site=reply.site, code=reply.code, detail=reply.detail
        )
    return SiteAnswered(
        round=plan.round,
        phase=plan.phase,
        site=reply.site,
        tightened=reply.tightened,
        privacy=reply.privacy,
    )
