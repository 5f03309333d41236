"""From gradients at standardised weights to those at the weights behind them, which are what is trained.

Standardised weights w of an output don't change when all weights behind them grow alike, nor when they are
stretched. So a gradient g loses its mean and what it has along w, and is divided by the width v:
(g - mean(g) - w mean(g w)) / v.
"""

# Shape letters: S patients, O outputs, K inputs of one output, T positions.

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class StandardisedWeights:
    """The standardised weights of a layer, and the width of those behind them."""

    weights_OK: torch.Tensor
    widths_O: torch.Tensor

    def behind(self, gradients: torch.Tensor) -> torch.Tensor:
        """Return gradients (..., O, K) at the weights behind."""
        means = gradients.mean(-1, keepdim=True)
        along = (gradients * self.weights_OK).mean(-1, keepdim=True)
        return (gradients - means - along * self.weights_OK) / self.widths_O[:, None]

    def lost_squares_S(self, inputs_STK: torch.Tensor, outputs_SOT: torch.Tensor) -> torch.Tensor:
        """Return how much less the squared norms of G X become; G is divided by the width already."""
        size = self.weights_OK.shape[1]
        sums_SO = (outputs_SOT @ inputs_STK.sum(2, keepdim=True))[..., 0]
        along_SO = (outputs_SOT * (self.weights_OK @ inputs_STK.mT)).sum(2)
        # w has a mean square of 1 but for what keeps its width from being 0.
        twice_O = 2 - self.weights_OK.square().mean(1)
        return (sums_SO.square() + twice_O * along_SO.square()).sum(1) / size
