"""Many sites at once: persistent processes of one thread each, around memory that all of them see.

Weights go out as one flat array, each worker adds up its sites' updates in a row of its own; through the
pipes go numbers alone. A worker is a fork, so that nothing is imported, compiled or copied for it. It ends
when its pipe does, also where the parent was killed.
"""

# Shape letters: P parameters of the flattened model, W workers.

import signal
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import MachineError
from fed_common.machine import settle_in
from fed_server.weighted_sum import WeightedSum
from fed_sim.engine.engine import SiteWork
from fed_sim.engine.site_images import shared_array

# A round and a site of it; a worker answers each with nothing, or with what went wrong.
_ORDER = struct.Struct("<qq")
# Orders that lie in a worker's pipe: with one, it would wait for the next.
_AHEAD = 2


class ProcessEngine:
    """Deals sites out to workers as they get ready; open it with `started`."""

    def __init__(
        self,
        work: SiteWork,
        weights_P: NDArray[np.float32],
        sums_WP: NDArray[np.int64],
        pipes: Sequence[Connection],
    ) -> None:
        self._work = work
        self._weights_P = weights_P
        self._sums_WP = sums_WP
        self._pipes = pipes

    @classmethod
    @contextmanager
    def started(cls, work: SiteWork, *, workers: int) -> Iterator[Self]:
        """Run an engine of so many workers until the block ends.

        To be called while this process has one thread: a fork of several may hang.
        """
        weights_P = shared_array((work.num_parameters,), np.float32)
        sums_WP = shared_array((workers, work.num_parameters), np.int64)
        context = get_context("fork")
        ours: list[Connection] = []
        processes: list[ForkProcess] = []
        try:
            for sum_P in sums_WP:
                here, there = context.Pipe()
                ours.append(here)
                process = context.Process(
                    target=_serve, args=(work, weights_P, sum_P, there, tuple(ours)), daemon=True
                )
                process.start()
                there.close()
                processes.append(process)
            yield cls(work, weights_P, sums_WP, ours)
        finally:
            for pipe in ours:
                pipe.close()
            for process in processes:
                process.join()

    def mean_update(
        self, number: int, sites: Sequence[int], weights_P: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the mean update; see `Engine`."""
        self._weights_P[:] = weights_P
        self._sums_WP[:] = 0
        trained = [0] * len(self._pipes)
        try:
            for worker in self._deal_out(number, iter(sites)):
                trained[worker] += 1
        except (OSError, EOFError) as error:
            raise MachineError("a worker process has ended") from error
        total = WeightedSum(np.zeros(self._work.num_parameters, dtype=np.int64))
        for sum_P, num_sites in zip(self._sums_WP, trained, strict=True):
            total.join(sum_P, num_sites * self._work.patients)
        return total.mean()

    def _deal_out(self, number: int, left: Iterator[int]) -> Iterator[int]:
        """Give each worker its next site until none is left; yield who has trained one, site by site."""
        under_way = sum(_order(pipe, number, left) for pipe in self._pipes for _ in range(_AHEAD))
        while under_way:
            for worker, pipe in enumerate(self._pipes):
                if not pipe.poll():
                    continue
                if problem := pipe.recv_bytes():
                    raise MachineError(f"a worker can't go on: {problem.decode()}")
                yield worker
                under_way += _order(pipe, number, left) - 1
            if under_way:
                wait(self._pipes)


def _order(pipe: Connection, number: int, left: Iterator[int]) -> int:
    """Give the worker its next site; return how many that are, 1 or 0."""
    for site in left:
        pipe.send_bytes(_ORDER.pack(number, site))
        return 1
    return 0


def _serve(
    work: SiteWork,
    weights_P: NDArray[np.float32],
    sum_P: NDArray[np.int64],
    pipe: Connection,
    parents: Sequence[Connection],
) -> None:
    """Train the sites that are ordered until the pipe ends."""
    for parent in parents:
        parent.close()  # else the pipes of workers would keep each other open
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    settle_in()
    total = WeightedSum(sum_P)
    with suppress(OSError, EOFError):  # the pipe has ended
        while True:
            number, site = _ORDER.unpack(pipe.recv_bytes())
            pipe.send_bytes(_problem(work, total, number, site, weights_P).encode())


def _problem(
    work: SiteWork, total: WeightedSum, number: int, site: int, weights_P: NDArray[np.float32]
) -> str:
    """Train one site, and return what went wrong, if anything did."""
    try:
        work.add(total, number, site, weights_P)
    except Exception as error:  # noqa: BLE001  # the process's outermost frame
        return f"{type(error).__name__}: {error}"
    return ""
