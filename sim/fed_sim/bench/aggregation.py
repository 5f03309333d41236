"""What it costs to make one update of many: the coordinator's own rules, against Flower's and against memory.

Ours are whole rounds of a rule, from the integers as screening lets them through to the mean. Flower's get
the same numbers as lists of float32 arrays. A limit is the fastest way through the same memory.
"""

# Shape letters: P parameters, N sites.

import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from flwr.server.strategy.aggregate import aggregate, aggregate_median, aggregate_trimmed_avg
from numpy.typing import NDArray

from fed_common import fixedpoint, seeds
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.compiled import compiled
from fed_common.ledger_record import LedgerHead
from fed_common.machine import settle_in
from fed_common.messages import PrivacyStatement
from fed_common.names import SiteName, digest_of
from fed_server.aggregation import AggregationRule, WeightedMean
from fed_server.averaging import MeanUpdate
from fed_server.robust.coordinates import Median, TrimmedMean
from fed_server.robust.held import HeldUpdates
from fed_server.screening import Contribution
from fed_sim.bench.plans import PATIENTS, bench_plan
from fed_sim.bench.timing import interleaved_ms

STREAM_TARGET, BATCH_TARGET, FLOWER_TARGET = 1.5, 1.4, 10.0
STREAMS, ROBUST = (10, 100), (10, 20)
# Of a ResNet-18, whose parameters come to Flower in so many arrays.
_LAYERS = 62
# More vectors than the processor's caches hold; a stream goes round and round.
_DISTINCT = 3

Ways = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rule at so many sites; `limit_ms` is the memory's, `flower_ms` Flower's, where there is one.

    `workspace_mb` is what the rule allocates in a round, its result and what it holds of updates included.
    """

    rule: str
    sites: int
    ours_ms: float
    limit_ms: float | None
    flower_ms: float | None
    workspace_mb: float
    target: float

    @property
    def ratio(self) -> float:
        """Return how many times the limit it takes, or how many times as fast as Flower it is."""
        if self.limit_ms is not None:
            return self.ours_ms / self.limit_ms
        return (self.flower_ms or 0.0) / self.ours_ms

    @property
    def met(self) -> bool:
        """Tell whether the ratio is as it should be."""
        return self.ratio <= self.target if self.limit_ms is not None else self.ratio >= self.target


def measure(*, parameters: int, repeats: int) -> Iterator[Row]:
    """Yield the streaming weighted sum, the sum of updates that are held, and the robust rules."""
    settle_in()  # as daemons do
    yield from _streams(parameters, repeats)
    yield _batch(parameters, repeats)
    for sites in ROBUST:
        yield from _robust(sites, parameters, repeats)


def _streams(parameters: int, repeats: int) -> Iterator[Row]:
    """Yield the mean as it is folded while answers come; its limit reads two vectors and writes one."""
    updates_NP = _updates(_DISTINCT, parameters)
    contributions = _contributions(updates_NP)
    running_P = np.zeros(parameters, dtype=np.int64)
    for sites in STREAMS:
        stream = [contributions[place % _DISTINCT] for place in range(sites)]
        ways: dict[str, Callable[[], object]] = {
            "ours": _round_of(WeightedMean(parameters), stream),
            "limit": partial(_add_up, running_P, stream),
        }
        if sites == min(STREAMS):  # a hundred would take Flower several times the machine's memory
            flower = [([updates_NP[place % _DISTINCT]], PATIENTS) for place in range(sites)]
            ways["flower"] = partial(aggregate, flower)
        times = interleaved_ms(ways, repeats=repeats)
        yield Row(
            rule="mean, streaming",
            sites=sites,
            ours_ms=times["ours"],
            limit_ms=times["limit"],
            flower_ms=times.get("flower"),
            workspace_mb=_allocated_mb(ways["ours"]),
            target=STREAM_TARGET,
        )


def _add_up(running_P: NDArray[np.int64], stream: Sequence[Contribution]) -> None:
    for contribution in stream:
        np.add(running_P, contribution.values, out=running_P)


def _batch(parameters: int, repeats: int) -> Row:
    """Return the sum over rows that are there already, as robust rules need it; its limit reads them once."""
    sites = min(ROBUST)
    rows_NP = _updates(sites, parameters)
    held = HeldUpdates(
        rows_RP=rows_NP, counted_N=np.arange(sites), patients_N=np.full(sites, PATIENTS, dtype=np.int64)
    )
    factors_N = np.full(sites, 1 / sites)
    ways: Ways = {
        "ours": lambda: held.weighted_sum(factors_N),
        "limit": partial(_read, rows_NP),
    }
    times = interleaved_ms(ways, repeats=repeats)
    return Row(
        rule="sum of held updates",
        sites=sites,
        ours_ms=times["ours"],
        limit_ms=times["limit"],
        flower_ms=None,
        workspace_mb=_allocated_mb(ways["ours"]),
        target=BATCH_TARGET,
    )


@compiled(fastmath=True)
def _read(rows_NP: NDArray[np.float32]) -> float:
    """Return the sum of everything: as fast as numbers can be read that are used for something."""
    total = np.float32(0)
    for row in range(len(rows_NP)):
        row_P = rows_NP[row]
        for place in range(row_P.size):
            total += row_P[place]
    return float(total)


def _robust(sites: int, parameters: int, repeats: int) -> Iterator[Row]:
    updates_NP = _updates(sites, parameters)
    contributions = _contributions(updates_NP)
    flower = [(np.array_split(update_P, _LAYERS), PATIENTS) for update_P in updates_NP]
    trim = sites // 5
    rules: dict[str, tuple[AggregationRule[MeanUpdate], Callable[[], object]]] = {
        "median": (Median(parameters), partial(aggregate_median, flower)),
        "trimmed mean": (
            TrimmedMean(parameters, trim),
            partial(aggregate_trimmed_avg, flower, trim / sites + 1e-9),
        ),
    }
    for name, (rule, of_flower) in rules.items():
        ours = _round_of(rule, contributions)
        times = interleaved_ms({"ours": ours, "flower": of_flower}, repeats=repeats)
        yield Row(
            rule=name,
            sites=sites,
            ours_ms=times["ours"],
            limit_ms=None,
            flower_ms=times["flower"],
            workspace_mb=_allocated_mb(ours),
            target=FLOWER_TARGET,
        )


def _round_of(
    rule: AggregationRule[MeanUpdate], contributions: Sequence[Contribution]
) -> Callable[[], object]:
    plan = bench_plan(_name(place) for place in range(len(contributions)))

    def run() -> object:
        opened = rule.open(plan)
        for contribution in contributions:
            opened.fold(contribution)
        return opened.close()

    return run


def _allocated_mb(way: Callable[[], object]) -> float:
    """Return what the way allocates at most; numpy tells tracemalloc of its arrays."""
    tracemalloc.start()
    way()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def _updates(number: int, parameters: int) -> NDArray[np.float32]:
    return seeds.stream(number, "bench aggregation").normal(0, 1e-3, (number, parameters)).astype(np.float32)


def _name(place: int) -> SiteName:
    return SiteName(f"site-{place:03d}")


def _contributions(updates_NP: NDArray[np.float32]) -> list[Contribution]:
    privacy = PrivacyStatement(
        unit="patient",
        epsilon=1.0,
        delta=1e-5,
        releases=1,
        accountant="none",
        ledger=LedgerHead(events=1, digest=digest_of(b"")),
        code=digest_of(b""),
    )
    return [
        Contribution(
            site=_name(place),
            values=fixedpoint.to_fixed(update_P.astype(np.float64)),
            noise_multiplier=1.0,
            tightened=None,
            privacy=privacy,
            log=EMPTY_LOG,
        )
        for place, update_P in enumerate(updates_NP)
    ]
