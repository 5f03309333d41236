"""The reading process: it limits itself, then reads one file after another until its input ends.

It knows no secret and holds no key. Whatever a file does to it, it can only say something wrong about that
file, or die. Started by `process.py` as `python -I -m fed_client.reading.worker`.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import TypeAdapter

from fed_client.images import Finding, PreparedImage, TextDetector
from fed_client.reading.dicom import read_file
from fed_client.reading.prepare import prepare
from fed_client.reading.raster import is_raster, read_raster
from fed_client.reading.resize import resized
from fed_client.reading.text import find_text, installed_detector
from fed_client.reading.wire import End, Hello, Job, Limits, Orders, Picture, Statement, pack, read_message
from fed_common.allocator import keep_freed_memory
from fed_common.errors import MalformedMessageError, UnreadableImageError
from fed_common.task import Recipe

ReadItems = Callable[[Path, Recipe, TextDetector], Iterator[PreparedImage | Finding]]

# Options of prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_NICENESS = 5
_MAX_OPEN_FILES = 64


def main() -> None:
    """Obey the orders on standard input and answer on standard output."""
    # Anything that a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers, read_items)


def serve(orders: BinaryIO, answers: BinaryIO, read: ReadItems) -> None:
    """Read the files that are asked for, until `orders` end."""
    first = read_message(orders)
    if first is None:
        return
    given = TypeAdapter(Orders).validate_json(first, strict=True)
    detector: TextDetector = installed_detector() if given.look_for_text else "off"
    keep_freed_memory()
    _warm_up()
    limit_process(given.limits)
    _send(answers, pack(Hello(detector=detector)))
    while (message := read_message(orders)) is not None:
        path = Path(Job(**json.loads(message)).path)
        signal.setitimer(signal.ITIMER_PROF, given.limits.cpu_s)  # its signal ends the process
        for part in _replies(partial(read, path, given.recipe, detector)):
            _send(answers, part)
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_process(limits: Limits) -> None:
    """Bound this process for good: memory, files, privileges, and its life by that of its parent."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, limit in (
        (resource.RLIMIT_AS, used + limits.memory_bytes),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.nice(_NICENESS)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # A core dump would hold a patient's image; one that goes to a program ignores RLIMIT_CORE.
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_items(path: Path, recipe: Recipe, detector: TextDetector) -> Iterator[PreparedImage | Finding]:
    """Yield the prepared pictures and the findings of one file.

    Raises:
        UnreadableImageError: it can't be used.
    """
    source = read_raster(path) if is_raster(path) else read_file(path, recipe.frames)
    for item in source:
        if isinstance(item, Finding):
            yield item
            continue
        text = find_text(item, detector)
        yield PreparedImage(grey_CHW=prepare(item, recipe), text=text, facts=item.facts)


def _warm_up() -> None:
    """Compile for the usual type before the first file's time runs."""
    resized(np.zeros((2, 2), dtype=np.uint16), size=1)


def _replies(read: Callable[[], Iterator[PreparedImage | Finding]]) -> Iterator[bytes]:
    """Yield what is to be said about a file; its end says if something was wrong."""
    try:
        for item in read():
            match item:
                case PreparedImage():
                    yield pack(Picture(text=item.text, facts=item.facts), item.grey_CHW)
                case Finding():
                    yield pack(Statement(finding=item))
        yield pack(End(reason=""))
    except UnreadableImageError as error:
        yield pack(End(reason=str(error)))
    except MemoryError:
        yield pack(End(reason="the file needs more memory than it may have"))
    except MalformedMessageError:
        yield pack(End(reason="the texts in the file's header are too long"))
    except Exception as error:  # noqa: BLE001 - a decoder's bug costs one file, not the process
        yield pack(End(reason=f"damaged ({type(error).__name__})"))


def _send(answers: BinaryIO, message: bytes) -> None:
    answers.write(message)
    answers.flush()


if __name__ == "__main__":
    main()
