"""torch's own threads, for compiled loops between its operations.

After an operation, torch's threads look for the next one for some milliseconds, and would keep other threads
from the processor that long.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch

from fed_common.machine_code import Team


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
        """Have a function, at that address, called with what is given by so many threads, or by fewer."""
        self._run(function, given, threads, 0)


@cache
def torch_threads() -> Team | None:
    """Return them where torch runs on GNU's OpenMP, as it does on Linux."""
    try:
        # Names are looked for in the libraries that this one needs, too.
        return _TorchThreads(ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")))
    except (OSError, AttributeError):
        return None


def _address(function: "ctypes._NamedFuncPointer") -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
