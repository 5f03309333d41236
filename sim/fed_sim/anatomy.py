"""Draws the bodies behind the phantoms: chest-like, with lungs, ribs, vessels and sometimes a lesion.

A body is a map of density from 0 (air) over 0.7 (soft tissue) to 1 (bone), before any scanner has seen it.
"""

# Shape letters: H rows and W columns of the body's own grid; x and y run from -1 to 1.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRID = 64
SOFT_TISSUE = 0.70
_LESION_DENSITY = (0.4, 0.8)
_LESION_RADIUS = (0.24, 0.36)
# One lesion in seven can't be seen, so that no model is perfect, however much it learns.
_OCCULT_SHARE, _OCCULT_DENSITY = 0.15, 0.02

FloatImage = NDArray[np.float64]

_AXIS = np.linspace(-1, 1, GRID)
_X_HW, _Y_HW = np.meshgrid(_AXIS, _AXIS)


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """A place and its half axes."""

    x: float
    y: float
    width: float
    height: float

    def squared_radius(self) -> FloatImage:
        """Return 0 at the centre, 1 on the edge and more outside."""
        return ((_X_HW - self.x) / self.width) ** 2 + ((_Y_HW - self.y) / self.height) ** 2


def draw_body(rng: np.random.Generator, *, lesion: bool) -> FloatImage:
    """Return the density of one patient's chest, with a lesion in one of the lungs if asked."""
    trunk = Ellipse(x=_near(rng, 0, 0.04), y=0, width=_near(rng, 0.86, 0.05), height=_near(rng, 0.94, 0.03))
    lungs = [_lung(rng, side) for side in (-1, 1)]
    heart = Ellipse(x=_near(rng, 0.14, 0.04), y=_near(rng, 0.26, 0.05), width=0.24, height=0.28)
    body_HW = SOFT_TISSUE * _inside(trunk)
    air_HW = np.maximum(_inside(lungs[0]), _inside(lungs[1])) * (1 - _inside(heart))
    body_HW -= air_HW * _near(rng, 0.42, 0.04)
    body_HW += _ribs(rng) * air_HW + _spine() * _inside(trunk) + _vessels(rng, lungs) * air_HW
    if lesion:
        body_HW += _lesion(rng, lungs[rng.integers(2)])
    return body_HW


def _near(rng: np.random.Generator, middle: float, spread: float) -> float:
    return middle + spread * rng.uniform(-1, 1)


def _lung(rng: np.random.Generator, side: int) -> Ellipse:
    return Ellipse(
        x=side * _near(rng, 0.40, 0.03),
        y=_near(rng, -0.02, 0.04),
        width=_near(rng, 0.29, 0.03),
        height=_near(rng, 0.60, 0.06),
    )


def _inside(ellipse: Ellipse) -> FloatImage:
    """Return 1 inside, 0 outside and a soft edge between."""
    inside_HW: FloatImage = np.clip((1.1 - ellipse.squared_radius()) * 5, 0, 1)
    return inside_HW


def _blob(x: float, y: float, radius: float) -> FloatImage:
    blob_HW: FloatImage = np.exp(-0.5 * Ellipse(x=x, y=y, width=radius, height=radius).squared_radius())
    return blob_HW


def _spine() -> FloatImage:
    spine_HW: FloatImage = 0.2 * np.exp(-0.5 * (_X_HW / 0.08) ** 2)
    return spine_HW


def _ribs(rng: np.random.Generator) -> FloatImage:
    """Return curved stripes: they run through every lung and are no sign of disease."""
    phase, per_height = rng.uniform(0, 2 * np.pi), _near(rng, 4.0, 0.4)
    waves_HW = np.sin(2 * np.pi * per_height * (_Y_HW - 0.35 * _X_HW**2) + phase)
    return rng.uniform(0.05, 0.12) * np.maximum(waves_HW, 0)


def _vessels(rng: np.random.Generator, lungs: list[Ellipse]) -> FloatImage:
    """Return small blobs around the middle of the chest: healthy spots that a lesion must be told from."""
    vessels_HW = np.zeros((GRID, GRID))
    for lung in lungs:
        for _ in range(4):
            x = lung.x * rng.uniform(0.4, 1.2)
            vessels_HW += rng.uniform(0.03, 0.12) * _blob(x, rng.uniform(-0.4, 0.4), rng.uniform(0.03, 0.06))
    return vessels_HW


def _lesion(rng: np.random.Generator, lung: Ellipse) -> FloatImage:
    """Return a soft blob somewhere in the lung, of few patients so faint that it is missed."""
    angle, distance = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.uniform())
    x = lung.x + lung.width * distance * np.cos(angle)
    y = lung.y + lung.height * distance * np.sin(angle)
    density, radius = rng.uniform(*_LESION_DENSITY), rng.uniform(*_LESION_RADIUS)
    if rng.uniform() < _OCCULT_SHARE:
        density = _OCCULT_DENSITY
    return density * _blob(x, y, radius)
