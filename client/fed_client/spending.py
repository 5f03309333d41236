"""Tells what a budget went to: the lines of a ledger, gathered by data set, run and kind of release."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from fed_common.accounting import Accountant, Spend, charged_epsilon, merge
from fed_common.ledger_record import LedgerEvent
from fed_common.names import Digest, RunId, SiteName


@dataclass(frozen=True, kw_only=True)
class Releases:
    """The releases of one kind in one run; a torn line is a kind of its own."""

    kind: str
    rounds: tuple[int, int]
    releases: int
    mechanisms: tuple[Spend, ...]


@dataclass(frozen=True, kw_only=True)
class RunSpending:
    """What one run, over one version of the data set, cost; `epsilon_after` is that of all up to then."""

    dataset: Digest
    policy: Digest
    site: SiteName
    run: RunId
    first_time: int
    last_time: int
    releases: tuple[Releases, ...]
    epsilon_after: float


def spending_by_run(
    events: Sequence[LedgerEvent], delta: float, accountants: Sequence[Accountant]
) -> Iterator[RunSpending]:
    """Yield the runs in the order in which they spent."""
    position = 0
    for (dataset, policy, site, run), lines in groupby(
        events, key=lambda event: (event.dataset, event.policy, event.site, event.run)
    ):
        block = list(lines)
        position += len(block)
        spent = [event.spend for event in events[:position]]
        yield RunSpending(
            dataset=dataset,
            policy=policy,
            site=site,
            run=run,
            first_time=block[0].time,
            last_time=block[-1].time,
            releases=tuple(_releases(block)),
            epsilon_after=charged_epsilon(spent, delta, accountants),
        )


def _releases(events: Sequence[LedgerEvent]) -> Iterator[Releases]:
    kinds = dict.fromkeys(_kind(event) for event in events)
    for kind in kinds:
        of_kind = [event for event in events if _kind(event) == kind]
        rounds = [event.round for event in of_kind]
        yield Releases(
            kind=kind,
            rounds=(min(rounds), max(rounds)),
            releases=len(of_kind),
            mechanisms=merge([event.spend for event in of_kind]),
        )


def _kind(event: LedgerEvent) -> str:
    return event.phase if event.kind == "charge" else event.kind
