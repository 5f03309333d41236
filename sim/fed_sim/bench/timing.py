"""Times several ways of doing one thing so that they can be compared on a noisy machine."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np
import torch

Name = TypeVar("Name", bound=Hashable)


def interleaved_ms(ways: Mapping[Name, Callable[[], object]], *, repeats: int) -> dict[Name, float]:
    """Return the 20th percentile of each way's milliseconds.

    The ways take turns, so that a busy moment of the machine hits all of them; only ratios count.
    """
    for way in ways.values():
        way()  # compiles, opens, fills caches
    times_ms: dict[Name, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
            times_ms[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.percentile(times, 20)) for name, times in times_ms.items()}
