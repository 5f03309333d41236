"""One reading process as its parent sees it: asked for a file, heard with distrust, replaced when lost."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from fed_client.images import Finding, PreparedImage, TextDetector
from fed_client.reading import wire
from fed_client.reading.testimony import Testimony
from fed_client.reading.wire import End, Job, Orders, Picture, Statement
from fed_common.errors import MachineError, MalformedMessageError, UnreadableImageError

START_TIMEOUT_S = 60.0
MAX_REASON = 200
COMMAND = (sys.executable, "-I", "-m", "fed_client.reading.worker")
# Nothing of the parent's. One thread each: the processes are the parallelism.
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
}
_END_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file that wasn't read, and why."""

    reason: str


Outcome = tuple[PreparedImage | Finding, ...] | Unreadable


class _LostError(Exception):
    """The process died or hung; its text is the file's reason."""


class ReadingProcess:
    """A process that reads files; only `end` may be called by another thread than the one that reads."""

    def __init__(self, command: Sequence[str], orders: Orders) -> None:
        self._command, self._orders = command, orders
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = select.poll()
        self.detector: TextDetector = "off"
        self.num_lost = 0
        self._ended = False

    @property
    def process_id(self) -> int | None:
        """Return the id of the process, None if none runs."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start the process and hear its greeting.

        Raises:
            MachineError: it doesn't start.
        """
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
            if self._ended:  # while it was being started
                self._kill()
            self._answers = select.poll()
            self._answers.register(_pipe(self._process.stdout), select.POLLIN)
            _pipe(self._process.stdin).write(wire.pack(self._orders))
            deadline = time.monotonic() + START_TIMEOUT_S
            self.detector = wire.unpack_hello(self._receive_json(deadline)).detector
        except (OSError, _LostError, MalformedMessageError) as error:
            self.close()
            raise MachineError(f"the reading process doesn't start ({type(error).__name__})") from error

    def read(self, path: Path) -> Outcome:
        """Return what is in the file; if that costs the process, the next file starts another.

        Raises:
            MachineError: another one doesn't start.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.start()
        try:
            return self._converse(path)
        except (_LostError, UnreadableImageError) as error:
            reason = str(error)
        except MalformedMessageError:
            reason = "the reading process said what it can't have read"
        except OSError:
            reason = "the reading process is gone"
        self.num_lost += 1
        self.close()
        return Unreadable(reason=reason)

    def end(self) -> None:
        """Kill the process for good, also one that is being started."""
        self._ended = True
        self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started

    def close(self) -> None:
        """End the process and forget it."""
        self._kill()
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    _pipe(pipe).close()

    def _converse(self, path: Path) -> Outcome:
        deadline = time.monotonic() + self._orders.limits.timeout_s
        _pipe(self._running.stdin).write(wire.pack(Job(path=str(path.absolute()))))
        recipe = self._orders.recipe
        testimony = Testimony(recipe.frames)
        while True:
            text = self._receive_json(deadline)
            testimony.count(len(text))
            match wire.unpack_reply(text):
                case Picture() as message:
                    testimony.expect(message.facts)
                    testimony.count(wire.num_pixel_bytes(recipe))
                    pixels = self._receive(wire.num_pixel_bytes(recipe), deadline)
                    testimony.take(wire.picture(message, pixels, recipe))
                case Statement(finding=finding):
                    testimony.take(finding)
                case End(reason=""):
                    return testimony.all()
                case End(reason=reason):
                    return Unreadable(reason=_printable(reason))

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise _LostError("the reading process is gone")
        return self._process

    def _receive_json(self, deadline: float) -> bytes:
        return self._receive(wire.unpack_length(self._receive(wire.HEAD_BYTES, deadline)), deadline)

    def _receive(self, count: int, deadline: float) -> bytes:
        """Return the next `count` bytes of the process' answers."""
        answers = _pipe(self._running.stdout).fileno()
        received = bytearray(count)
        left = memoryview(received)
        while left:
            if not self._answers.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _LostError("reading the file takes too long")
            num_read = os.readv(answers, [left])
            if num_read == 0:
                raise _LostError(self._cause_of_death())
            left = left[num_read:]
        return bytes(received)

    def _cause_of_death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            if self._running.wait(_END_TIMEOUT_S) == -signal.SIGPROF:
                return "reading the file takes too much processor time"
        return "the file makes its reader crash"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    return cast(IO[bytes], pipe)  # each is a pipe: `start` asks for them


def _printable(reason: str) -> str:
    """Return a reason that fits a line; it comes from a process that a file may have taken over."""
    kept = "".join(letter for letter in reason[:MAX_REASON] if " " <= letter <= "~")
    return kept or "no reason given"
