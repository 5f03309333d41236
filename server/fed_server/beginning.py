"""What a run begins with: fresh parameters, or those of a checkpoint, of which it then says whose they are.

Without it, a site that leaves could be taken out of a model only by training everything anew.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.participation import StartingPoint
from fed_common.checkpoint import Checkpoint
from fed_common.errors import ConfigError
from fed_common.models import initial_parameters
from fed_common.names import Digest
from fed_common.signing import VerifyingKey
from fed_server.run_folder import RunFolder
from fed_server.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The first parameters, and the checkpoint that they are from, if they are from one."""

    parameters_P: NDArray[np.float32]
    previous: Digest
    point: StartingPoint | None

    @classmethod
    def of(cls, folder: RunFolder, settings: RunSettings, key: VerifyingKey) -> Self:
        """Return what the run in `folder` begins with; the same after every crash.

        Raises:
            ConfigError: its checkpoint is one for another task.
            TrustError: its checkpoint isn't the coordinator's, or is of another network.
        """
        if not folder.start.exists():
            first_P = initial_parameters(settings.model, seed=settings.training.seed)
            return cls(parameters_P=first_P, previous=checkpoints.FIRST, point=None)
        start = checkpoints.load(folder.start, settings.model, key)
        if start.manifest.task != settings.task.digest:
            raise ConfigError(f"{folder.start}: a model for another task")
        return cls(parameters_P=start.parameters_P, previous=start.digest, point=point_of(start))


def point_of(start: Checkpoint) -> StartingPoint:
    """Return what the manifests of a run say that begins with a checkpoint."""
    return StartingPoint(
        run=start.manifest.run,
        round=start.manifest.round,
        checkpoint=start.digest,
        sites=tuple(sorted(start.manifest.made_of)),
    )
