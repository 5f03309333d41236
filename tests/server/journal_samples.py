"""A run as a journal tells it: five sites, one of which never answers, a crash, a retry, a spent budget."""

from collections.abc import Iterator

from fed_common.ledger_record import LedgerHead
from fed_common.messages import PrivacyStatement
from fed_common.metrics import Estimate
from fed_common.names import RunId, SiteName, digest_of
from fed_common.noised_figures import NoisedFigures, Reliability
from fed_common.plans import DpTerms, Phase, TrainTerms
from fed_common.reference import Reference, References
from fed_common.scoring import TestFigures
from fed_common.task import Recipe, Task
from fed_server.journal import (
    PhaseAsked,
    RoundPublished,
    RunEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    SiteAnswered,
    SiteFailed,
    SiteFigures,
    WaitingForSites,
)

HARBOUR, HILLSIDE, LAKEVIEW, OLD_TOWN, RIVERBANK = SITES = tuple(
    SiteName(name) for name in ("harbour", "hillside", "lakeview", "old-town", "riverbank")
)
TASK = Task(
    name="pneumonia-chest", classes=("normal", "pneumonia"), positive="pneumonia", recipe=Recipe(size=32)
)
STARTED = RunStarted(
    run=RunId("chest-pilot-3fa94c1e"),
    name="chest-pilot",
    settings=digest_of(b"settings"),
    task=TASK,
    model="seed-cnn-1x32x32-2@e2f0a6d1c3b4",
    sites=SITES,
    rounds=12,
    quorum=3,
    terms=TrainTerms(
        dp=DpTerms(
            noise_multiplier=1.172, clip_norm=1.0, sampling_rate=0.05, steps=20, max_images_per_patient=4
        ),
        learning_rate=0.5,
        momentum=0.0,
        update_clip=10.0,
    ),
    epsilon=4.0,
    delta=1e-5,
)
AUC = (0.612, 0.701, 0.768, 0.803, 0.829, 0.846, 0.858, 0.866, 0.874, 0.879, 0.886, 0.892)


def around(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def figures_of(auc: float) -> TestFigures:
    return TestFigures(loss=1.25 - auc, accuracy=auc - 0.07, auc=around(auc, 0.03))


REFERENCES = References(
    task=TASK.digest,
    models=(
        Reference(
            kind="pooled",
            label="all sites pooled",
            figures=figures_of(0.945),
        ),
        *(
            Reference(
                kind="local",
                label=f"{site} alone",
                figures=figures_of(auc),
            )
            for site, auc in zip(SITES, (0.881, 0.842, 0.795, 0.768, 0.811), strict=True)
        ),
    ),
)


def privacy_of(site: SiteName, releases: int) -> PrivacyStatement:
    return PrivacyStatement(
        unit="patient",
        epsilon=0.95 * releases**0.5 + 0.01 * len(site),
        delta=1e-5,
        releases=releases,
        accountant="max of dp-accounting PLD and Opacus PRV",
        ledger=LedgerHead(events=releases, digest=digest_of(f"{site} {releases}".encode())),
        code=digest_of(b"the code of every site"),
    )


def answered(number: int, site: SiteName, phase: Phase = "train") -> SiteAnswered:
    releases = number + (number - (phase == "train")) // 3
    return SiteAnswered(round=number, phase=phase, site=site, privacy=privacy_of(site, releases))


def failed(number: int, site: SiteName, code: str, detail: str = "") -> SiteFailed:
    return SiteFailed(round=number, phase="train", site=site, code=code, detail=detail)


def published(number: int, sites: tuple[SiteName, ...] = SITES) -> RoundPublished:
    auc = AUC[number - 1]
    together = NoisedFigures(
        auc=around(auc - 0.02, 0.05),
        accuracy=around(auc - 0.08, 0.04),
        sensitivity=around(auc - 0.2, 0.1),
        specificity=around(auc - 0.22, 0.11),
        calibration_gap=around(-0.03, 0.02),
        calibration_error=around(0.05, 0.03),
        reliability=(
            Reliability(score=0.11, positive=around(0.06, 0.05)),
            Reliability(score=0.88, positive=around(0.94, 0.04)),
        ),
    )
    harbour = NoisedFigures(auc=around(auc - 0.01, 0.09), accuracy=around(auc - 0.06, 0.08))
    measured = (
        SiteFigures(site=None, figures=together),
        SiteFigures(site=HARBOUR, figures=harbour),
        SiteFigures(site=HILLSIDE, figures=NoisedFigures(accuracy=around(auc - 0.1, 0.1))),
        SiteFigures(site=LAKEVIEW, figures=NoisedFigures()),
    )
    return RoundPublished(
        round=number,
        seconds=38.0 + 1.7 * (number % 4),
        sites=sites,
        test=figures_of(auc),
        federated=measured if number % 3 == 0 else (),
        checkpoint=digest_of(f"checkpoint {number}".encode()),
    )


def usual_round(number: int, *, attempt: int = 1) -> Iterator[RunEvent]:
    """Yield one round; old-town's budget is spent in round 10, and every third one is measured."""
    sites = SITES[:4] if number < 10 else SITES[:3]
    yield PhaseAsked(round=number, phase="train", attempt=attempt)
    yield from (answered(number, site) for site in sites)
    if OLD_TOWN not in sites:
        yield failed(number, OLD_TOWN, "budget-exhausted", "epsilon would be 3.62, the policy allows 3.5")
    yield failed(number, RIVERBANK, "offline")
    if number % 3 == 0:
        yield PhaseAsked(round=number, phase="evaluate", attempt=1)
        yield from (answered(number, site, "evaluate") for site in SITES[:3])
    yield published(number, sites)


def usual_rounds(first: int, last: int) -> Iterator[RunEvent]:
    return (event for number in range(first, last + 1) for event in usual_round(number))


FINISHED: tuple[RunEvent, ...] = (
    STARTED,
    WaitingForSites(round=1, online=(HARBOUR,), quorum=3),
    *usual_rounds(1, 2),
    PhaseAsked(round=3, phase="train", attempt=1),
    answered(3, HARBOUR),
    failed(3, HILLSIDE, "late"),
    failed(3, LAKEVIEW, "link-error"),
    failed(3, RIVERBANK, "offline"),
    *usual_round(3, attempt=2),
    *usual_rounds(4, 5),
    PhaseAsked(round=6, phase="train", attempt=1),
    answered(6, HARBOUR),
    RunResumed(round=5),
    *usual_rounds(6, 12),
    RunFinished(rounds=12),
)
UNFINISHED: tuple[RunEvent, ...] = FINISHED[: FINISHED.index(RunResumed(round=5))]
