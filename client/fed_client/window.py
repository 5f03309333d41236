"""Says which values are black and white: the window that a DICOM file asks to be shown with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window in the units of the rescaled pixels; `width` is at least 1 for LINEAR, else above 0."""

    centre: float
    width: float
    function: WindowFunction = "LINEAR"

    def grey(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `values` as grey from 0 (black) to 1 (white).

        Source: DICOM PS3.3 C.11.2.1.2.1 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT).
        """
        match self.function:
            case "LINEAR":
                grey = _ramp(values, middle=self.centre - 0.5, span=self.width - 1)
            case "LINEAR_EXACT":
                grey = _ramp(values, middle=self.centre, span=self.width)
            case "SIGMOID":
                # Beyond 60 the result is 0 or 1 in float32, and exp can't overflow.
                grey = 1 / (1 + np.exp(np.clip(-4 * (values - self.centre) / self.width, -60, 60)))
        return np.asarray(grey, dtype=np.float32)


def _ramp(values: NDArray[np.float32], *, middle: float, span: float) -> NDArray[np.float64]:
    if span == 0:
        return np.asarray(values > middle, dtype=np.float64)
    grey = values.astype(np.float64)
    grey -= middle  # in place: a picture's worth of memory each time takes longer than the arithmetic
    grey /= span
    grey += 0.5
    return np.clip(grey, 0, 1, out=grey)
