"""The model as it came with a plan, checked before anything is computed with it."""

import numpy as np
from numpy.typing import NDArray

from fed_client.policy import PolicyRefusal
from fed_common.errors import MalformedMessageError
from fed_common.messages import RoundPlan
from fed_common.names import digest_of

# A diverged or crafted model could overflow the arithmetic that privacy rests on.
MAX_ABS_PARAMETER = 1e4


def received_model(plan: RoundPlan, parameters: bytes, *, num_parameters: int) -> NDArray[np.float32]:
    """Return the parameters that travelled beside the plan.

    Raises:
        MalformedMessageError: they aren't those that the plan names, or another number of them.
        PolicyRefusal: one is NaN, or too large.
    """
    if digest_of(parameters) != plan.parameters:
        raise MalformedMessageError("the model is not the one that the plan names")
    if len(parameters) != 4 * num_parameters:
        raise MalformedMessageError(f"the model must have {num_parameters} float32 parameters")
    vector_P = np.frombuffer(parameters, dtype="<f4").astype(np.float32)
    if not np.all(np.abs(vector_P) <= MAX_ABS_PARAMETER):
        raise PolicyRefusal("model-not-finite", f"a parameter is NaN or beyond {MAX_ABS_PARAMETER:g}")
    return vector_P
