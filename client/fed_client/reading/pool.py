"""Has files read by processes that may die: a bomb, a crash or an endless loop costs one file, no more."""

import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from fed_client.images import PreparedImage, TextDetector
from fed_client.reading.process import COMMAND, Outcome, ReadingProcess, Unreadable
from fed_client.reading.wire import Limits, Orders
from fed_common.task import Recipe

__all__ = ["Limits", "Outcome", "ReaderPool", "Unreadable", "usable_cores"]

_LOOK_AHEAD = 4
# Pictures that nobody has asked for yet; beyond it, no file is begun before one is fetched.
MAX_WAITING_BYTES = 1 << 28


class ReaderPool:
    """Reading processes, each with a thread that listens to it; open it with `ReaderPool.opened`.

    `detector` says who looks for text in the pixels.
    """

    def __init__(self, processes: Sequence[ReadingProcess], threads: ThreadPoolExecutor) -> None:
        self._processes = processes
        self._idle: queue.SimpleQueue[ReadingProcess] = queue.SimpleQueue()
        for process in processes:
            self._idle.put(process)
        self._threads = threads
        self._look_ahead = _LOOK_AHEAD * len(processes)
        self.detector: TextDetector = processes[0].detector

    @classmethod
    @contextmanager
    def opened(
        cls,
        recipe: Recipe,
        *,
        num_workers: int,
        limits: Limits | None = None,
        look_for_text: bool = True,
        command: Sequence[str] = COMMAND,
    ) -> Iterator[Self]:
        """Start the processes, and end them when the block ends, also those that read.

        Raises:
            MachineError: they don't start.
        """
        orders = Orders(recipe=recipe, limits=limits or Limits(), look_for_text=look_for_text)
        processes = [ReadingProcess(command, orders) for _ in range(num_workers)]
        threads = ThreadPoolExecutor(num_workers, thread_name_prefix="reading")
        try:
            list(threads.map(ReadingProcess.start, processes))
            yield cls(processes, threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.end()
            threads.shutdown()
            for process in processes:
                process.close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Return the ids of the processes that run now."""
        ids = (process.process_id for process in self._processes)
        return tuple(number for number in ids if number is not None)

    @property
    def num_lost(self) -> int:
        """Return how many processes were lost so far: each with one file."""
        return sum(process.num_lost for process in self._processes)

    def read(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Yield what is in each file, in the order of `paths`; only a few are read ahead.

        Raises:
            MachineError: a process was lost and another doesn't start.
        """
        waiting: deque[Future[Outcome]] = deque()
        try:
            for path in paths:
                waiting.append(self._threads.submit(self._read_one, path))
                while len(waiting) >= self._look_ahead or _num_bytes(waiting) > MAX_WAITING_BYTES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _read_one(self, path: Path) -> Outcome:
        process = self._idle.get()
        try:
            return process.read(path)
        finally:
            self._idle.put(process)


def _num_bytes(waiting: Iterable[Future[Outcome]]) -> int:
    outcomes = (future.result() for future in waiting if future.done())
    return sum(
        item.grey_CHW.nbytes
        for outcome in outcomes
        if not isinstance(outcome, Unreadable)
        for item in outcome
        if isinstance(item, PreparedImage)
    )


def usable_cores() -> int:
    """Return how many processes can work at once."""
    return len(os.sched_getaffinity(0))
