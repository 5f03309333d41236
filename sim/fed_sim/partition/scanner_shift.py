"""Makes one hospital's pictures look as from a worse scanner: other contrast, more noise, fewer pixels.

Contrast, noise and sharpness are what differs most between acquisitions in Zhang et al. 2020 ("BigAug", IEEE
TMI 39(7), 2531-2540), whose augmentations stand in for scanners never seen.
"""

# Shape letters: H rows and W columns; colour pictures carry a last axis of 3.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of the worst scanner: a third of the pixels a side, noise of a tenth of the greys, half the contrast or half
# as much again.
_WORST_RESOLUTION = 1 / 3
_WORST_NOISE = 25.0
_WORST_CONTRAST = 0.5
_MIDDLE = 127.5


@dataclass(frozen=True, kw_only=True)
class ShiftedScanner:
    """A factor of the distance to middle grey, a noise in greys, and the share of pixels kept a side."""

    contrast: float
    noise: float
    resolution: float

    def scan(self, picture_HW: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the picture as this scanner shows it, in the same number of pixels."""
        seen_HW = self._blurred(picture_HW).astype(np.float64)
        seen_HW = _MIDDLE + self.contrast * (seen_HW - _MIDDLE)
        seen_HW += self.noise * rng.standard_normal(seen_HW.shape)
        return np.clip(np.rint(seen_HW), 0, 255).astype(np.uint8)

    def _blurred(self, picture_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows, columns = picture_HW.shape[:2]
        coarse = (max(1, round(self.resolution * columns)), max(1, round(self.resolution * rows)))
        if coarse == (columns, rows):
            return picture_HW
        small = Image.fromarray(picture_HW).resize(coarse, Image.Resampling.BOX)
        return np.asarray(small.resize((columns, rows), Image.Resampling.BILINEAR))


def shifted_scanner(index: int, *, sites: int, strength: float) -> ShiftedScanner:
    """Return the scanner of hospital `index`: the first changes nothing, the last is `strength` away from it.

    Contrast is lost at every second hospital and exaggerated at the others, so that no single correction
    suits all.
    """
    distance = strength * index / max(sites - 1, 1)
    turned = -_WORST_CONTRAST if index % 2 else _WORST_CONTRAST
    return ShiftedScanner(
        contrast=1 + turned * distance,
        noise=_WORST_NOISE * distance,
        resolution=1 - (1 - _WORST_RESOLUTION) * distance,
    )
