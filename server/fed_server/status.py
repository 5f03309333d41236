"""Where a run stands and what each site did last, made of the journal alone, while it goes on and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fed_common.ledger_record import LedgerReset
from fed_common.messages import PrivacyStatement, RefusalCode
from fed_common.names import RunId, SiteName
from fed_common.plans import Phase
from fed_server.journal import (
    PhaseAsked,
    RoundPublished,
    RunFinished,
    RunResumed,
    RunStarted,
    SiteAnswered,
    SiteFailed,
    TimedEvent,
)

Verdict = Literal["accepted", "tightened", "refused", "failed", "not asked yet"]
_REFUSALS = get_args(RefusalCode)


@dataclass(frozen=True, kw_only=True)
class LastWord:
    """What came of the last question to a site; `codes` are the reasons for less than was asked."""

    at: int
    round: int
    phase: Phase
    verdict: Verdict
    codes: tuple[str, ...]
    detail: str


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """One site: its last word, its last statement of what was spent, and its officer's resets in this run."""

    site: SiteName
    last: LastWord | None
    privacy: PrivacyStatement | None
    resets: tuple[LedgerReset, ...]


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A whole run; `asked` is what was asked last, with how many sites have answered it."""

    run: RunId
    rounds: int
    published: int
    finished: bool
    asked: PhaseAsked | None
    answered: int
    last_event: int
    sites: tuple[SiteStatus, ...]


def status_of(events: Sequence[TimedEvent]) -> RunStatus | None:
    """Return where the run stands, None if it never began."""
    started = [told.event for told in events if isinstance(told.event, RunStarted)]
    if not started:
        return None
    places = [place for place, told in enumerate(events) if isinstance(told.event, PhaseAsked)]
    since = events[places[-1] :] if places else []
    asked = since[0].event if since else None
    return RunStatus(
        run=started[-1].run,
        rounds=started[-1].rounds,
        published=max((_published(told) for told in events), default=0),
        finished=any(isinstance(told.event, RunFinished) for told in events),
        asked=asked if isinstance(asked, PhaseAsked) else None,
        answered=len({told.event.site for told in since if isinstance(told.event, SiteAnswered)}),
        last_event=events[-1].at,
        sites=tuple(_site(site, events) for site in started[-1].sites),
    )


def _published(told: TimedEvent) -> int:
    match told.event:
        case RoundPublished(round=number) | RunResumed(round=number):
            return number
        case _:
            return 0


def _site(site: SiteName, events: Sequence[TimedEvent]) -> SiteStatus:
    words = [word for told in events if (word := _word(site, told)) is not None]
    stated = [
        told.event.privacy
        for told in events
        if isinstance(told.event, SiteAnswered) and told.event.site == site
    ]
    resets = dict.fromkeys(privacy.reset.reset for privacy in stated if privacy.reset)
    return SiteStatus(
        site=site,
        last=words[-1] if words else None,
        privacy=stated[-1] if stated else None,
        resets=tuple(resets),
    )


def _word(site: SiteName, told: TimedEvent) -> LastWord | None:
    match told.event:
        case SiteAnswered() as event if event.site == site:
            codes = event.tightened.codes if event.tightened else ()
            return LastWord(
                at=told.at,
                round=event.round,
                phase=event.phase,
                verdict="tightened" if codes else "accepted",
                codes=codes,
                detail="",
            )
        case SiteFailed() as event if event.site == site:
            return LastWord(
                at=told.at,
                round=event.round,
                phase=event.phase,
                verdict="refused" if event.code in _REFUSALS else "failed",
                codes=(event.code,),
                detail=event.detail,
            )
        case _:
            return None
