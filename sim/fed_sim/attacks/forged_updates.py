"""Attacks on the update itself: what is sent was never trained."""

# Shape letters: P parameters, A attackers.

import numpy as np
from numpy.typing import NDArray

Update = NDArray[np.float64]


def sign_flipped(update_P: Update) -> Update:
    """Return the way back."""
    return -update_P


def stretched(update_P: Update, *, norm: float) -> Update:
    """Return the update as long as `norm`: the longest that screening lets through pulls hardest.

    Source: model replacement in Bagdasaryan et al., "How To Backdoor Federated Learning" (2018), section 4.1.
    """
    return update_P * (norm / float(np.linalg.norm(update_P)))


def agreed(updates_AP: list[Update], *, norm: float) -> list[Update]:
    """Return for each attacker one and the same update, against what all of them have learnt.

    Equal updates are each other's closest neighbours, which is what Krum looks for.
    """
    against_P = stretched(sign_flipped(np.mean(updates_AP, axis=0)), norm=norm)
    return [against_P for _ in updates_AP]


def not_a_number(num_parameters: int) -> NDArray[np.int64]:
    """Return the bits of floating-point NaNs in the place of integers, which have no NaN."""
    return np.full(num_parameters, np.nan).view(np.int64)
