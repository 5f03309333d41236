"""What made an image, and how its stored numbers become grey; to draw one takes no DICOM file."""

# Shape letters: H rows, W columns.

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["CR", "DX", "CT", "MR", "US", "OP"]
Photometric = Literal["MONOCHROME1", "MONOCHROME2", "RGB"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How stored numbers become grey: stored * slope + intercept, then the window, then the photometry."""

    photometric: Photometric = "MONOCHROME2"
    bits_stored: int = 8
    signed: bool = False
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    # By PS3.3 C.11.2.1.2.1 this window shows 0 as black and 255 as white.
    window_center: float = 128.0
    window_width: float = 256.0

    @property
    def bits_allocated(self) -> int:
        """Return the smallest whole number of bytes a pixel fits in."""
        return 8 if self.bits_stored <= 8 else 16

    def store(self, real_HW: NDArray[np.float64]) -> NDArray[np.uint16]:
        """Return what is stored for values in the real unit where more is denser.

        MONOCHROME1 shows its lowest value as white, so density is stored upside down: within the window,
        so that the same window fits. Signed numbers are returned as their two's complement.
        """
        if self.photometric == "MONOCHROME1":
            real_HW = 2 * self.window_center - 1 - real_HW
        lowest = -(1 << self.bits_stored - 1) if self.signed else 0
        highest = lowest + (1 << self.bits_stored) - 1
        exact_HW = np.rint((real_HW - self.rescale_intercept) / self.rescale_slope)
        stored_HW: NDArray[np.uint16] = np.clip(exact_HW, lowest, highest).astype(np.int32).astype(np.uint16)
        return stored_HW


@dataclass(frozen=True, kw_only=True)
class Device:
    """The machine and the house it stands in."""

    modality: Modality
    manufacturer: str = ""
    model: str = ""
    institution: str = ""
