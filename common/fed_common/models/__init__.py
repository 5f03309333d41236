"""The networks that hospitals can train, and the fingerprint by which they know it is the same one."""

from fed_common.models.frozen import frozen_features, trained_part
from fed_common.models.spec import ModelSpec, build_model, initial_parameters, spec_for

__all__ = [
    "ModelSpec",
    "build_model",
    "frozen_features",
    "initial_parameters",
    "spec_for",
    "trained_part",
]
