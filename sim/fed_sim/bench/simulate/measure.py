"""Times and weighs each way to simulate many sites: one program after the other, from outside.

A program's start is the time from its call to the end of its first round; a site's time is that of the
fastest round after it, divided by the sites that trained; so is the processors' time, which a busy machine
changes less. Its memory is the largest sum, over all its processes, of their shares (PSS): what processes
share counts once. Where a program is called several times, times are those of the fastest call.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import fed_sim
from fed_sim.bench.simulate.weighing import Scales, cpu_time_s

OURS, OURS_PRIVATE = "ours", "ours, private"
PLAIN, OPACUS = "plain loop", "Opacus loop, private"
FLOWER, BLAZEFL, PFL = "Flower (Ray)", "BlazeFL (threads)", "pfl"
# A program that tells no round for so long is given up.
_LONGEST_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """A program of this package, and the libraries without which it can't run."""

    name: str
    program: str
    needs: tuple[str, ...] = ()


WAYS = (
    Way(name=PLAIN, program="plain_loop"),
    Way(name=FLOWER, program="flower_ray", needs=("flwr", "ray")),
    Way(name=BLAZEFL, program="blazefl_threads", needs=("blazefl",)),
    Way(name=PFL, program="pfl_simulation", needs=("pfl",)),
    Way(name=OURS, program="ours_unprotected"),
    Way(name=OPACUS, program="opacus_loop", needs=("opacus",)),
    Way(name=OURS_PRIVATE, program="ours_private"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """So many sites, of which so many train in each of so many rounds; and so many calls of the program."""

    sites: int
    training: int
    rounds: int
    calls: int = 1


CASES = (
    Case(sites=10, training=10, rounds=8, calls=3),  # for the start, of which a call has one
    Case(sites=100, training=100, rounds=3),
    Case(sites=1000, training=1000, rounds=2),
    Case(sites=1000, training=100, rounds=3),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one way took in one case; `absent` says why there are no figures."""

    way: str
    sites: int
    training: int
    site_ms: float = float("nan")
    site_cpu_ms: float = float("nan")
    start_s: float = float("nan")
    peak_mb: float = float("nan")
    absent: str = ""


def measure(cases: Sequence[Case], ways: Sequence[Way], *, pythons: Sequence[str]) -> Iterator[Measured]:
    """Yield each way's figures in each case; a way runs in the first of `pythons` that has what it needs."""
    for way in ways:
        python = next((python for python in pythons if not _missing(way, python)), None)
        for case in cases:
            if python is None:
                lacks = ", ".join(_missing(way, pythons[0]))
                yield Measured(
                    way=way.name, sites=case.sites, training=case.training, absent=f"not installed: {lacks}"
                )
            else:
                yield fastest([_measured(way, case, python) for _ in range(case.calls)])


def fastest(calls: Sequence[Measured]) -> Measured:
    """Return the least times of several calls, and the most memory; one that failed, if one did."""
    failed = [call for call in calls if call.absent]
    if failed:
        return failed[0]
    return replace(
        calls[0],
        site_ms=min(call.site_ms for call in calls),
        site_cpu_ms=min(call.site_cpu_ms for call in calls),
        start_s=min(call.start_s for call in calls),
        peak_mb=max(call.peak_mb for call in calls),
    )


def _missing(way: Way, python: str) -> list[str]:
    """Return which of the libraries this interpreter hasn't got."""
    program = (
        "import importlib.util, sys; print(*(n for n in sys.argv[1:] if not importlib.util.find_spec(n)))"
    )
    found = subprocess.run([python, "-c", program, *way.needs], capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else [python]


def _measured(way: Way, case: Case, python: str) -> Measured:
    numbers = [str(number) for number in (case.sites, case.training, case.rounds)]
    packages = str(Path(fed_sim.__file__).parents[1])
    began = time.perf_counter()
    with (
        subprocess.Popen(
            [python, "-W", "ignore", "-m", f"fed_sim.bench.simulate.{way.program}", *numbers],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Another interpreter finds these programs there, and of ours nothing else that they need.
            env=os.environ | {"PYTHONPATH": packages if python != sys.executable else ""},
        ) as process,
        Scales(process.pid) as scales,
    ):
        giving_up = threading.Timer(_LONGEST_S, process.kill)
        giving_up.daemon = True
        giving_up.start()
        start_s = float("nan")
        rounds_s: list[float] = []
        cpu_s: list[float] = []
        for round_s in _rounds(process):
            start_s = time.perf_counter() - began if not rounds_s else start_s
            rounds_s.append(round_s)
            cpu_s.append(cpu_time_s(process.pid))
        giving_up.cancel()
    if len(rounds_s) < case.rounds:
        ended = f"ended with {process.wait()} after {len(rounds_s)} of {case.rounds} rounds"
        return Measured(way=way.name, sites=case.sites, training=case.training, absent=ended)
    return Measured(
        way=way.name,
        sites=case.sites,
        training=case.training,
        site_ms=1000 * min(rounds_s[1:]) / case.training,
        site_cpu_ms=1000 * min(after - before for before, after in pairwise(cpu_s)) / case.training,
        start_s=start_s,
        peak_mb=scales.peak_mb,
    )


def _rounds(process: "subprocess.Popen[str]") -> Iterator[float]:
    """Yield what each round took, as the program tells it."""
    for line in process.stdout or ():
        with suppress(ValueError, KeyError, TypeError):  # libraries print what they like
            yield float(json.loads(line)["round_s"])
