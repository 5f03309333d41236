"""A compiled loop runs on torch's own threads, wherever it is called from."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from fed_client.loops.moving import go_down_float64
from fed_client.private_step.torch_threads import over, torch_threads

# The first of them are torch's, the others OpenMP starts.
CALLS = 7


def went_down() -> None:
    weights_CP = np.arange(CALLS * 5, dtype=np.float32).reshape(CALLS, 5)
    before_CP = weights_CP.copy()
    beyond_C1 = np.full((CALLS, 1), 9)
    change_P = np.arange(5.0)
    go_down_float64.at_once(
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


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_something_is_done_with_each_item_once(threads: int) -> None:
    done = list[int]()
    over(range(1000), done.append, threads=threads)
    assert sorted(done) == list(range(1000))
    assert threads > 1 or done == sorted(done)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_raised_comes_out_and_ends_the_work(threads: int) -> None:
    done = list[int]()

    def up_to_seven(item: int) -> None:
        if item == 7:
            raise KeyboardInterrupt
        done.append(item)

    with pytest.raises(KeyboardInterrupt):
        over(range(1_000_000), up_to_seven, threads=threads)
    assert set(range(7)) <= set(done)
    assert len(done) < 1_000_000 - 1
