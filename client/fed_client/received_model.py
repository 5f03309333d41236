"""The model as it came with a plan, checked before anything is computed with it."""

import numpy as np
from numpy.typing import NDArray

from fed_client.policy import PolicyRefusal
from fed_common.errors import MalformedMessageError
from fed_common.messages import PlanStatement
from fed_common.names import Bytes

# A diverged or crafted model could overflow the arithmetic that privacy rests on.
MAX_ABS_PARAMETER = 1e4


def received_vectors(
    statement: PlanStatement, parameters: Bytes, *, num_parameters: int
) -> tuple[NDArray[np.float32], ...]:
    """Return what travelled beside the plan: the model's parameters, and what its method needs besides.

    They are views of `parameters`, the body with which the statement was unsealed, so that its digest is the
    statement's.

    Raises:
        MalformedMessageError: they aren't what the plan names, or another number of them.
        PolicyRefusal: one is NaN, or too large.
    """
    plan = statement.plan
    if statement.body != plan.parameters:
        raise MalformedMessageError("the model is not the one that the plan names")
    if len(parameters) != 4 * num_parameters * plan.num_vectors:
        raise MalformedMessageError(
            f"{plan.num_vectors} x {num_parameters} float32 parameters must come with the plan"
        )
    values = np.frombuffer(parameters, dtype="<f4")
    if not _bounded(values):
        raise PolicyRefusal("model-not-finite", f"a parameter is NaN or beyond {MAX_ABS_PARAMETER:g}")
    return tuple(values.reshape(plan.num_vectors, -1))


def _bounded(values: NDArray[np.float32]) -> bool:
    """Tell whether all values are numbers within the bounds."""
    # However it is rounded, a sum of squares is at least the largest of them: one look at each, not two.
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum is none below
        if np.dot(values, values) <= MAX_ABS_PARAMETER**2:
            return True
    # Of a NaN, least and most are NaN; an array of absolute values would be as large as the model.
    return bool(values.min() >= -MAX_ABS_PARAMETER and values.max() <= MAX_ABS_PARAMETER)
