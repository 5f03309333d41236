"""Opacus' PRV accountant behind the common protocol: the second opinion of privacy rule 8."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from fed_common.accounting import Spend, checked_epsilon
from fed_common.errors import PrivacyError


@dataclass(frozen=True)
class PrvAccountant:
    """Privacy random variables, composed numerically by Opacus."""

    name: str = "Opacus PRV"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        """Return Opacus' upper bound on epsilon.

        Raises:
            PrivacyError: Opacus can't judge these releases (its issues 591, 601 and 604), or they draw
                images singly, for which it has no mechanism.
        """
        if any(spend.draws_per_patient > 1 for spend in spends):
            raise PrivacyError(f"{self.name} knows no mechanism that draws a patient's images singly")
        # Here, because Opacus takes 2 seconds and 150 MB to import, and not every command needs it.
        from opacus.accountants import PRVAccountant  # noqa: PLC0415

        accountant = PRVAccountant()
        accountant.history = [(s.noise_multiplier, s.sampling_rate, s.steps) for s in spends]
        try:
            with warnings.catch_warnings():
                # Opacus warns where log(0) is meant to be -inf, and where its coarse first bound is loose.
                warnings.simplefilter("ignore")
                epsilon = float(accountant.get_epsilon(delta))
        except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
            raise PrivacyError(f"Opacus PRV can't judge these releases ({type(error).__name__})") from error
        return checked_epsilon(epsilon, accountant=self.name)
