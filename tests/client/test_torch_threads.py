"""A compiled loop runs on torch's own threads, wherever it is called from."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from fed_client.loops.moving import _go_down
from fed_client.private_step.torch_threads import torch_threads

# The first of them are torch's, the others OpenMP starts.
CALLS = 7


def went_down() -> None:
    weights_CP = np.arange(CALLS * 5, dtype=np.float32).reshape(CALLS, 5)
    before_CP = weights_CP.copy()
    beyond_C1 = np.full((CALLS, 1), 9)
    change_P = np.arange(5.0)
    _go_down.at_once(
        [
            (change_P, float(call), weights_P, beyond_1)
            for call, (weights_P, beyond_1) in enumerate(zip(weights_CP, beyond_C1, strict=True))
        ],
        torch_threads(),
    )
    assert np.array_equal(weights_CP, before_CP - np.arange(CALLS)[:, None] * change_P)
    assert not beyond_C1.any()


@pytest.mark.skipif(sys.platform != "linux", reason="torch has other threads there")
@pytest.mark.parametrize(
    "call", [lambda job: job(), lambda job: ThreadPoolExecutor(1).submit(job).result()], ids=["main", "other"]
)
def test_a_team_of_torchs_makes_every_call(call: Callable[[Callable[[], None]], None]) -> None:
    assert torch_threads() is not None
    torch.ones(1 << 20).sum()  # wakes torch's threads
    for _ in range(100):
        call(went_down)
