"""Each number of a model is in one piece, and in the flat vector's order the pieces are the flat vector."""

import numpy as np
import pytest
import torch
from torch import nn

from fed_client import parameter_memory
from fed_client.parameter_memory import ParameterMemory
from fed_common.layout import flatten, load_flat


class Scaled(nn.Module):
    """Has parameters of no, one, two and four axes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.layers = nn.Sequential(nn.Conv2d(3, 5, (2, 3)), nn.Conv2d(5, 4, 1), nn.Linear(7, 3))


@pytest.fixture(params=[torch.contiguous_format, torch.channels_last], ids=str)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(parameter_memory, "_NUMBERS_AT_ONCE", 40)  # the kernels are cut, the rest is joined
    model = Scaled()
    model.to(memory_format=request.param)  # type: ignore[call-overload]
    load_flat(model, np.arange(flatten(model).size, dtype=np.float32))
    return model


def test_the_pieces_are_the_flat_vector(model: nn.Module) -> None:
    memory = ParameterMemory(model.parameters())
    found_P = np.full(memory.size, -1.0)
    for block in memory.blocks:
        assert sum(piece.size for piece in block) <= 40
        for piece in block:
            assert (found_P[piece.place] == -1).all()
            own_P = memory.runs[piece.parameter][piece.memory].astype(np.float64)
            found_P[piece.place] = piece.in_flat_order(own_P)
            assert np.array_equal(piece.in_memory_order(found_P[piece.place]), own_P)

    assert len(memory.blocks) > 3
    assert np.array_equal(found_P, flatten(model))


def test_what_is_written_there_is_the_models(model: nn.Module) -> None:
    for run in ParameterMemory(model.parameters()).runs:
        run[:] = 7

    assert (flatten(model) == 7).all()


def test_tensors_in_any_order_become_runs_in_memorys(model: nn.Module) -> None:
    memory = ParameterMemory(model.parameters())
    tensors = [
        parameter.detach().clone(memory_format=torch.contiguous_format) for parameter in model.parameters()
    ]

    for run, own in zip(memory.as_runs(tensors), memory.runs, strict=True):
        assert np.array_equal(run, own)


def test_a_parameter_that_is_no_run_of_memory_is_refused() -> None:
    with pytest.raises(RuntimeError, match="view"):
        ParameterMemory([torch.zeros(3, 4).T])
