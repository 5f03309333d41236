"""Vectors as long as the model that a site keeps from round to round; all are made of noised steps."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_common.files import write_atomically
from fed_common.messages import RoundPlan

# Shape letters: P parameters of the flattened model.


@dataclass(frozen=True)
class KeptVectors:
    """A folder with one vector for a round of a run; those of another run are forgotten."""

    folder: Path

    def keep(self, plan: RoundPlan, vector_P: NDArray[np.float64]) -> None:
        """Put the vector of this round on disk; must come before the round's answer.

        Raises:
            MachineError: it can't be written.
        """
        write_atomically(self._path(plan, plan.round), vector_P.astype("<f4").tobytes())

    def find(self, plan: RoundPlan, number: int, *, size: int) -> NDArray[np.float32] | None:
        """Return the vector of an earlier round of the plan's run; None if it isn't there, or is damaged."""
        try:
            vector_P = np.frombuffer(self._path(plan, number).read_bytes(), "<f4").astype(np.float32)
        except (FileNotFoundError, ValueError):
            return None
        return vector_P if vector_P.shape == (size,) and np.isfinite(vector_P).all() else None

    def newest(self, plan: RoundPlan, *, size: int) -> NDArray[np.float32] | None:
        """Return the vector of the newest round of the plan's run; None if none is there, or whole."""
        kept = sorted(self.folder.glob(f"{plan.run}.*.vector"))
        return self.find(plan, int(kept[-1].name.split(".")[1]), size=size) if kept else None

    def forget_all_but(self, plan: RoundPlan, number: int) -> None:
        """Delete all vectors but that of one round of the plan's run."""
        for old in self.folder.glob("*.vector"):
            if old != self._path(plan, number):
                old.unlink(missing_ok=True)

    def _path(self, plan: RoundPlan, number: int) -> Path:
        return self.folder / f"{plan.run}.{number:06d}.vector"
