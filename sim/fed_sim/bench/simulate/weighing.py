"""Weighs a program from outside: memory and processors' time of a process and all that it has started."""

import os
import threading
from contextlib import suppress
from pathlib import Path

_WEIGHED_EVERY_S = 0.2


class Scales:
    """Weighs a process and all that it started, again and again, until left."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._weigh)
        self.peak_mb = 0.0

    def __enter__(self) -> "Scales":
        """Begin to weigh."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop; `peak_mb` stays."""
        self._left.set()
        self._thread.join()

    def _weigh(self) -> None:
        while not self._left.wait(_WEIGHED_EVERY_S):
            self.peak_mb = max(self.peak_mb, sum(map(_share_mb, _family(self._root))))


def cpu_time_s(root: int) -> float:
    """Return how long the process and its descendants have computed, those that have ended included."""
    ticks = 0
    for process in _family(root):
        with suppress(OSError):  # it has ended
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # proc(5): utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(root: int) -> list[int]:
    """Return the process and all its descendants."""
    family = [root]
    for member in family:  # which grows
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):  # it has ended
                family.extend(map(int, children.read_text().split()))
    return family


def _share_mb(process: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
