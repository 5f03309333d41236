"""Has files read by processes that may die: a bomb, a crash or an endless loop costs one file, no more."""

import os
import queue
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self, cast

from fed_client.images import Finding, PreparedImage, TextDetector
from fed_client.reading import wire
from fed_client.reading.wire import End, Job, Limits, Orders, Picture, Statement
from fed_common.errors import MachineError, MalformedMessageError
from fed_common.task import Recipe

__all__ = ["Limits", "Outcome", "ReaderPool", "Unreadable", "usable_cores"]

START_TIMEOUT_S = 60.0
# Frames by the recipe that one file may fill the parent's memory with.
MAX_FILE_PIXEL_BYTES = 1 << 29
MAX_REASON = 200
_LOOK_AHEAD = 4
_COMMAND = (sys.executable, "-I", "-m", "fed_client.reading.worker")
# One thread each: the processes are the parallelism.
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
}


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file that wasn't read, and why."""

    reason: str


Outcome = tuple[PreparedImage | Finding, ...] | Unreadable


class _WorkerLostError(Exception):
    """The reading process died, hung or said what can't be."""


class ReaderPool:
    """Reading processes and who they are; open it with `ReaderPool.opened`."""

    def __init__(self, workers: Sequence["_Worker"], threads: ThreadPoolExecutor) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._threads = threads
        self._look_ahead = _LOOK_AHEAD * len(workers)
        self.detector: TextDetector = workers[0].detector

    @classmethod
    @contextmanager
    def opened(
        cls,
        recipe: Recipe,
        *,
        num_workers: int,
        limits: Limits | None = None,
        look_for_text: bool = True,
        command: Sequence[str] = _COMMAND,
    ) -> Iterator[Self]:
        """Start the processes, and end them when the block ends.

        Raises:
            MachineError: they don't start.
        """
        orders = Orders(recipe=recipe, limits=limits or Limits(), look_for_text=look_for_text)
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(num_workers, thread_name_prefix="reading"))
            workers = [_Worker(command, orders) for _ in range(num_workers)]
            for worker in workers:
                stack.callback(worker.kill)
            list(threads.map(_Worker.start, workers))
            yield cls(workers, threads)

    def read(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Yield what is in each file, in the order of `paths`; only a few are read ahead."""
        waiting: deque[Future[Outcome]] = deque()
        try:
            for path in paths:
                waiting.append(self._threads.submit(self._read_one, path))
                if len(waiting) >= self._look_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _read_one(self, path: Path) -> Outcome:
        worker = self._idle.get()
        try:
            return worker.read(path)
        finally:
            self._idle.put(worker)


class _Worker:
    """One reading process, started again when it is lost."""

    def __init__(self, command: Sequence[str], orders: Orders) -> None:
        self._command, self._orders = command, orders
        self._process: subprocess.Popen[bytes] | None = None
        self.detector: TextDetector = "off"

    def start(self) -> None:
        """Start the process and hear its greeting."""
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a library's complaint could quote the file
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is the parent's business
                bufsize=0,
            )
            self._send(wire.pack(self._orders))
            deadline = time.monotonic() + START_TIMEOUT_S
            head = self._receive(4, deadline)
            self.detector = wire.unpack_hello(self._receive(wire.unpack_length(head), deadline)).detector
        except (OSError, _WorkerLostError, MalformedMessageError) as error:
            self.kill()
            raise MachineError(f"the reading process doesn't start ({type(error).__name__})") from error

    def read(self, path: Path) -> Outcome:
        """Return what is in the file; if that costs the process, start another."""
        try:
            if self._process is None:
                self.start()
            return self._converse(path)
        except _WorkerLostError as error:
            self.kill()
            return Unreadable(reason=str(error))
        except (MalformedMessageError, BrokenPipeError):
            self.kill()
            return Unreadable(reason="the reading process said what it can't have read")

    def kill(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _converse(self, path: Path) -> Outcome:
        recipe = self._orders.recipe
        deadline = time.monotonic() + self._orders.limits.timeout_s
        self._send(wire.pack(Job(path=str(path.absolute()))))
        items: list[PreparedImage | Finding] = []
        pixel_bytes = 0
        while True:
            text = self._receive(wire.unpack_length(self._receive(4, deadline)), deadline)
            match wire.unpack_reply(text):
                case Picture() as message:
                    pixel_bytes += wire.num_pixel_bytes(recipe)
                    if pixel_bytes > MAX_FILE_PIXEL_BYTES:
                        raise _WorkerLostError("the file has too many frames")
                    pixels = self._receive(wire.num_pixel_bytes(recipe), deadline)
                    items.append(wire.picture(message, pixels, recipe))
                case Statement(finding=finding):
                    items.append(finding)
                case End(reason=""):
                    return tuple(items)
                case End(reason=reason):
                    return Unreadable(reason=_printable(reason))

    def _send(self, message: bytes) -> None:
        _pipe(self._process, "stdin").write(message)

    def _receive(self, count: int, deadline: float) -> bytes:
        """Return the next `count` bytes of the process' answers."""
        answers = _pipe(self._process, "stdout").fileno()
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            while len(received) < count:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _WorkerLostError("reading the file takes too long")
                part = os.read(answers, count - len(received))
                if not part:
                    raise _WorkerLostError("the file makes its reader crash")
                received += part
        return bytes(received)


def _pipe(process: "subprocess.Popen[bytes] | None", name: Literal["stdin", "stdout"]) -> IO[bytes]:
    pipe = getattr(process, name, None)
    if pipe is None:
        raise _WorkerLostError("the reading process is gone")
    return cast(IO[bytes], pipe)


def _printable(reason: str) -> str:
    """Return a reason that fits a line; it comes from a process that a file may have taken over."""
    return "".join(letter for letter in reason[:MAX_REASON] if " " <= letter <= "~")


def usable_cores() -> int:
    """Return how many processes can work at once."""
    return len(os.sched_getaffinity(0))
