"""torch's own threads, for what is computed between its operations.

After an operation, torch's threads look for the next one for some milliseconds, and would keep other threads
from the processor that long.
"""

import ctypes
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

from fed_common.machine_code import Team

Item = TypeVar("Item")


class _TorchThreads(Team):
    """GNU's OpenMP as torch brings it along."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Find its functions.

        Raises:
            AttributeError: this torch has other threads.
        """
        self._run = library.GOMP_parallel
        self._run.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)
        self._run.restype = None
        self.number_of_this = _address(library.omp_get_thread_num)
        self.how_many = _address(library.omp_get_num_threads)

    def run(self, function: int, given: bytes, threads: int) -> None:
        """Have each of so many threads, or of fewer, call the function at that address with what is given."""
        self._run(function, given, threads, 0)


@cache
def torch_threads() -> Team | None:
    """Return them where torch runs on GNU's OpenMP, as it does on Linux."""
    try:
        # Names are looked for in the libraries that this one needs, too.
        return _TorchThreads(ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")))
    except (OSError, AttributeError):
        return None


def over(items: Iterable[Item], do: Callable[[Item], None], *, threads: int) -> None:
    """Do something with each item, on as many threads as torch has such, and in turn on one.

    Raises:
        BaseException: what was raised first, once all threads have stopped.
    """
    team = torch_threads()
    if threads == 1 or team is None:
        for item in items:
            do(item)
        return
    waiting, failures = iter(items), list[BaseException]()

    def member(_: bytes) -> None:
        try:
            for item in waiting:
                if failures:
                    break
                do(item)
        except BaseException as error:  # noqa: BLE001 (raised below: a thread of torch's couldn't)
            failures.append(error)

    function = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(member)
    team.run(_address(function), b"", threads)
    if failures:
        raise failures[0]


def _address(function: "ctypes._FuncPointer") -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
