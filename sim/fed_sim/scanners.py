"""Turns a body into stored pixels the way one hospital's scanner does: optics, dose, encoding and window."""

# Shape letters: H rows and W columns of the detector, G points of the body's grid.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_sim.acquisition import Device, Encoding
from fed_sim.anatomy import GRID, FloatImage


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """What makes one hospital's images look different from another's.

    `gain` and `offset` turn density into the real unit (HU for CT); `blur` is in the body's coordinates,
    `noise` and `shading` in density.
    """

    device: Device
    encoding: Encoding
    rows: int
    columns: int
    gain: float
    offset: float
    blur: float
    noise: float
    shading: float

    def scan(self, body_HW: FloatImage, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return the stored pixels of one exposure; the patient never lies in quite the same place.

        In 64 bits, because other numbers of threads sum in another order, and 32 bits would show it.
        """
        down_HG = self._optics(self.rows, 1.0, rng.uniform(-0.05, 0.05))
        across_WG = self._optics(self.columns, self.columns / self.rows, rng.uniform(-0.05, 0.05))
        seen_HW = down_HG @ (body_HW + self._shade(rng)) @ across_WG.T
        seen_HW += self.noise * rng.standard_normal(seen_HW.shape)
        return self.encoding.store(self.offset + self.gain * seen_HW)

    def _optics(self, pixels: int, field: float, shift: float) -> FloatImage:
        """Return the matrix that resamples one axis of the body with a Gaussian point-spread function."""
        at_H1 = np.linspace(-field, field, pixels)[:, np.newaxis] + shift
        distance_HG = (at_H1 - np.linspace(-1, 1, GRID)) / self.blur
        weight_HG = np.exp(-0.5 * distance_HG**2) + 1e-12
        optics_HG: FloatImage = weight_HG / weight_HG.sum(axis=1, keepdims=True)
        return optics_HG

    def _shade(self, rng: np.random.Generator) -> FloatImage:
        """Return an uneven exposure: a plane and a bow over the field, other ones in each exposure."""
        tilt, slope, bow = rng.uniform(-self.shading, self.shading, size=3)
        axis = np.linspace(-1, 1, GRID)
        shade_HW: FloatImage = tilt * axis[:, np.newaxis] + slope * axis + bow * axis**2
        return shade_HW


def scanner_of(index: int) -> Scanner:
    """Return the scanner of hospital `index`: CR, DX, CT in turn, each further turn a newer generation.

    Their windows show the same body darker or brighter, so that what one hospital learns alone fits the
    others' images badly: there is something to gain from learning together.
    """
    generation, kind = divmod(index, 3)
    return (_computed_radiography, _digital_radiography, _computed_tomography)[kind](generation)


def _computed_radiography(generation: int) -> Scanner:
    return Scanner(
        device=Device(modality="CR", manufacturer="Phantomworks", model=f"Plate {100 + generation}"),
        encoding=Encoding(
            # Old plate readers show the negative film; the newer generation doesn't.
            photometric="MONOCHROME1" if generation % 2 == 0 else "MONOCHROME2",
            bits_stored=12,
            rescale_slope=1.0,
            rescale_intercept=0.0,
            window_center=1900.0,
            window_width=3600.0,
        ),
        rows=128 * 2 ** (generation % 2),
        columns=128 * 2 ** (generation % 2),
        gain=3000.0,
        offset=400.0,
        blur=0.045,
        noise=0.08 / (1 + generation % 3),
        shading=0.06,
    )


def _digital_radiography(generation: int) -> Scanner:
    return Scanner(
        device=Device(modality="DX", manufacturer="Imagina Systems", model=f"Flat {7 + generation}"),
        encoding=Encoding(
            photometric="MONOCHROME2" if generation % 2 == 0 else "MONOCHROME1",
            bits_stored=14,
            rescale_slope=1.0,
            rescale_intercept=0.0,
            window_center=5250.0,
            window_width=5500.0,
        ),
        rows=160 if generation % 2 == 0 else 96,
        columns=144 if generation % 2 == 0 else 80,
        gain=5500.0,
        offset=2500.0,
        blur=0.02,
        noise=0.05,
        shading=0.10 / (1 + generation % 3),
    )


def _computed_tomography(generation: int) -> Scanner:
    return Scanner(
        device=Device(
            modality="CT", manufacturer="Beispiel Medical", model=f"Spiral {16 * (1 + generation)}"
        ),
        encoding=Encoding(
            photometric="MONOCHROME2",
            # Newer scanners store signed Hounsfield units as they are.
            bits_stored=12 if generation % 2 == 0 else 16,
            signed=generation % 2 == 1,
            rescale_slope=1.0,
            rescale_intercept=-1024.0 if generation % 2 == 0 else 0.0,
            window_center=-500.0,
            window_width=1350.0,
        ),
        rows=96 if generation % 2 == 0 else 64,
        columns=96 if generation % 2 == 0 else 64,
        # Air is -1000 HU, soft tissue (0.70) about 50 HU.
        gain=1500.0,
        offset=-1000.0,
        blur=0.03,
        noise=0.06 * (1 + generation % 2),
        shading=0.03,
    )
