"""A convolution whose weights are standardised as they are used: what GroupNorm lacks beside BatchNorm.

Source: Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization"
(2019), equations 5 and 6.
"""

# Shape letters: N images, C channels, H rows, W columns, O outputs.

import torch
from torch import nn

_SMALLEST_VARIANCE = 1e-10


class WeightStandardisedConvolution(nn.Conv2d):
    """Convolves with weights whose mean is 0 and whose variance is 1 for each output."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the maps (N, O, H, W)."""
        weights, _ = self.standardised()
        maps_NOHW: torch.Tensor = self._conv_forward(images_NCHW, weights, self.bias)
        return maps_NOHW

    def standardised(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weights as they are used, and the widths (O, 1, 1, 1) by which they were divided."""
        variances, means = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        widths = (variances + _SMALLEST_VARIANCE).sqrt()
        return (self.weight - means) / widths, widths
