"""What privacy costs a training step: against plain SGD, Opacus and torch's own per-image gradients.

Ours is a whole round as a hospital runs it: sampling, gathering, patients, clipping, noise from AES and all.
Each network is timed in two processes, of which one has glibc's allocator as it is, the other as
`fed_common.machine` sets it; all ways of both take turns. A way's memory is measured in a process of its own.
"""

import itertools
import resource
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import torch

from fed_common.allocator import keep_freed_memory
from fed_common.models import ModelSpec
from fed_sim.bench.step_ways import OPACUS_WAYS, OURS, PLAIN, Case, Way, ways_of
from fed_sim.bench.timing import interleaved_ms

_SEED_CNN = ModelSpec(channels=1, classes=2)
_RESNET = ModelSpec(architecture="resnet-18", channels=1, size=64, classes=2)
CASES = (
    Case(name="seed CNN, 64 images", spec=_SEED_CNN, images=64, steps=5),
    Case(name="seed CNN, 256 images", spec=_SEED_CNN, images=256, steps=2),
    Case(name="ResNet-18, 32 images of 64 x 64", spec=_RESNET, images=32, steps=2),
)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """How many times as fast ours must be, and how much memory it may take."""

    plain: float
    opacus: float
    opacus_untuned: float | None
    memory: float = 1.5


TARGETS = {
    CASES[0].name: Targets(plain=0.85, opacus=1.4, opacus_untuned=None),
    CASES[1].name: Targets(plain=0.85, opacus=1.4, opacus_untuned=None),
    CASES[2].name: Targets(plain=0.5, opacus=2.0, opacus_untuned=5.0),
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Milliseconds per step of each way, the allocator as it is or tuned; megabytes at most."""

    case: str
    threads: int
    images: int
    untuned_ms: dict[str, float]
    tuned_ms: dict[str, float]
    memory_mb: dict[str, float]

    def verdicts(self, targets: Targets) -> Iterator["Verdict"]:
        """Yield each promise with what was measured, tuned unless it says otherwise."""
        ours_ms = self.tuned_ms[OURS]
        yield Verdict("faster than plain SGD", self.tuned_ms[PLAIN] / ours_ms, at_least=targets.plain)
        best_ms = min(self.tuned_ms[way] for way in OPACUS_WAYS)
        yield Verdict("faster than Opacus' best", best_ms / ours_ms, at_least=targets.opacus)
        if targets.opacus_untuned is not None:
            best_ms = min(self.untuned_ms[way] for way in OPACUS_WAYS)
            yield Verdict(
                "faster than Opacus' best, untuned", best_ms / ours_ms, at_least=targets.opacus_untuned
            )
        yield Verdict(
            "memory of plain SGD", self.memory_mb[OURS] / self.memory_mb[PLAIN], at_most=targets.memory
        )


@dataclass(frozen=True)
class Verdict:
    """One ratio against its target."""

    promise: str
    ratio: float
    at_least: float = 0.0
    at_most: float = float("inf")

    @property
    def met(self) -> bool:
        """Tell whether the target is met."""
        return self.at_least <= self.ratio <= self.at_most


def measure(
    *, numbers_of_threads: Sequence[int], repeats: int, cases: tuple[Case, ...] = CASES
) -> Iterator[Measured]:
    """Yield each case's figures, with each number of threads for every way."""
    for threads, case in itertools.product(numbers_of_threads, cases):
        untuned_ms, tuned_ms = _timed(case, threads=threads, repeats=repeats)
        memory_mb = {way: _memory_mb(case, threads=threads, way=way) for way in (PLAIN, "Opacus hooks", OURS)}
        yield Measured(
            case=case.name,
            threads=threads,
            images=case.images,
            untuned_ms=untuned_ms,
            tuned_ms=tuned_ms,
            memory_mb=memory_mb,
        )


def _timed(case: Case, *, threads: int, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return each way's milliseconds per step, with the allocator as it is and tuned."""
    with _new_process() as untuned, _new_process() as tuned:
        for process in (untuned, tuned):
            names = process.submit(_make_ways, case, threads, tuned=process is tuned).result()
        turns = {
            (name, process): partial(_take_in, process, name)
            for name in names
            for process in (untuned, tuned)
        }
        taken_ms = interleaved_ms(turns, repeats=repeats)
    untuned_ms, tuned_ms = (
        {name: taken_ms[name, process] / case.steps for name in names} for process in (untuned, tuned)
    )
    return untuned_ms, tuned_ms


def _memory_mb(case: Case, *, threads: int, way: str) -> float:
    """Return the most memory of a process that trains in one way, torch and compilers included."""
    with _new_process() as process:
        return process.submit(_most_memory_mb, case, threads, way).result()


# What follows runs in a process of its own, in which a case's ways are kept between turns.
_ways: dict[str, Way] = {}


def _make_ways(case: Case, threads: int, *, tuned: bool) -> list[str]:
    if tuned:
        keep_freed_memory()
    torch.set_num_threads(threads)
    # Opacus' hooks on a first layer, whose input needs no gradient.
    warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
    _ways.update({name: make() for name, make in ways_of(case).items()})
    return list(_ways)


def _take(name: str) -> None:
    _ways[name]()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _most_memory_mb(case: Case, threads: int, way: str) -> float:
    torch.set_num_threads(threads)
    ways_of(case)[way]()()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _new_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _take_in(process: ProcessPoolExecutor, name: str) -> None:
    process.submit(_take, name).result()
