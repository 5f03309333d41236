"""A received model is looked at once, and used where it lies in the message."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import COORDINATOR_SIGNS, plan_of, sealed

from fed_client.policy import PolicyRefusal
from fed_client.received_model import received_vectors
from fed_common.messages import PlanStatement, unseal


def received(values: list[float]) -> NDArray[np.float32]:
    message = sealed(plan_of(), np.array(values, dtype=np.float32))
    statement, body = unseal(message, PlanStatement, COORDINATOR_SIGNS)
    (vector_P,) = received_vectors(statement, body, num_parameters=len(values))
    assert np.shares_memory(vector_P, np.frombuffer(message, dtype=np.uint8))
    return vector_P


def test_many_large_parameters_are_not_one_that_is_too_large() -> None:
    largest = [10_000.0, -10_000.0, 9_999.0]
    assert received(largest).tolist() == largest


@pytest.mark.parametrize("value", [np.nan, np.inf, 10_000.001, -10_000.001, 3e38])
@pytest.mark.parametrize("others", [0.0, 9_000.0])
def test_one_that_is_too_large_is_found_among_small_and_large_ones(value: float, others: float) -> None:
    with pytest.raises(PolicyRefusal, match="model-not-finite"):
        received([others] * 100 + [value] + [others] * 100)
