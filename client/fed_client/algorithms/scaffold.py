"""SCAFFOLD at a site: its own control variate, and how it differs from that of all sites.

A control variate is made of the site's own update, noised and clipped as it was answered, so that it tells no
more than the answer did; it stays at the site all the same.

Whether the coordinator has counted an update, a site learns from the next plan only: an answer can come too
late. If it went on from a control variate that isn't in the mean of all, the model would be drawn aside for
ever. So the one of each round is kept until a plan says which round of this site's is in the model:

1. a plan names that round, and the control variate of it is gone on from; all others are forgotten;
2. before any update of the site was counted, it is zero, as the mean began;
3. where it is lost, the site refuses before it charges anything.

Source: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning" (2020),
algorithm 1, lines 10 and 12, option II.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_client.algorithms.correction import Correction, added
from fed_client.algorithms.kept_vectors import KeptVectors
from fed_client.policy import PolicyRefusal
from fed_common.local_methods import ControlVariates
from fed_common.messages import RoundPlan
from fed_common.names import SiteName
from fed_common.plans import TrainTerms

# Shape letters: P parameters of the flattened model.


@dataclass(frozen=True, kw_only=True, eq=False)
class Controls:
    """The control variates that a round begins with: the site's own, and that of all sites.

    `path` is that of the plan's steps, also where the site takes fewer: the coordinator reckons with it.
    """

    own_P: NDArray[np.float32]
    shared_P: NDArray[np.float32]
    path: float

    @property
    def correction(self) -> Correction:
        """Return what becomes of each mean gradient: how all sites' differs from the site's own is added."""
        return added(self.shared_P.astype(np.float64) - self.own_P)

    def own_after(self, update_P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the site's own one after its update."""
        return self.own_P.astype(np.float64) - self.shared_P - update_P / self.path


@dataclass(frozen=True, kw_only=True)
class ControlStore:
    """One site's control variates on disk."""

    site: SiteName
    kept: KeptVectors

    def begin(self, plan: RoundPlan, beside: Sequence[NDArray[np.float32]]) -> Controls | None:
        """Return what the plan's round begins with (steps 1 to 3); None if it isn't one of SCAFFOLD.

        `beside` is what came with the plan behind the model.

        Raises:
            PolicyRefusal: the coordinator counts on a control variate that isn't here.
        """
        if not isinstance(plan.terms, TrainTerms) or not isinstance(plan.terms.method, ControlVariates):
            return None
        (shared_P,) = beside
        counted = next((rounds.last for rounds in plan.trained if rounds.site == self.site), 0)
        own_P = np.zeros_like(shared_P)
        if counted:
            kept_P = self.kept.find(plan, counted, size=len(shared_P))
            if kept_P is None:
                raise PolicyRefusal("control-variate-lost", f"that of round {counted} isn't here any more")
            own_P = kept_P
        self.kept.forget_all_but(plan, counted)
        return Controls(own_P=own_P, shared_P=shared_P, path=plan.terms.path)

    def keep(self, plan: RoundPlan, controls: Controls, update_P: NDArray[np.float64]) -> None:
        """Put the site's own one after the round on disk; must come before its answer.

        Raises:
            MachineError: it can't be written; then nothing must be answered either.
        """
        self.kept.keep(plan, controls.own_after(update_P))
