"""Draws breast ultrasounds, by what radiologists tell lesions by: shape, margin, echoes, what lies behind.

A picture is drawn as the logarithm of its brightness, in which tissue, lesions and shadows add up. Ranges are
wide on purpose: what is learnt from drawings has to hold for scanners and hospitals that nobody has seen.

Source: ACR BI-RADS Atlas, 5th edition (2013), ultrasound: malignant masses are irregular, ill-defined, often
taller than wide and in front of a shadow; benign ones oval and sharp, cysts black and in front of an echo.
"""

# Shape letters: G x G points of the drawing's grid, H x W pixels of the picture, h x w of its mask. Lengths
# are shares of a side; x runs to the right, y into the depth.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Kind = Literal["normal", "solid", "cyst", "malignant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SHARES = (0.17, 0.30, 0.18, 0.35)

GRID, SIDE, MASK_SIDE = 64, 32, 16
TRAITS = ("width", "height", "log aspect", "roughness", "softness", "darkness", "behind")

Grid = NDArray[np.float64]

_MARGIN = 16  # fields are cut out of more, so that opposite borders don't fit together
_STEPS_G = (np.arange(GRID) + 0.5) / GRID
_X_GG, _Y_GG = np.meshgrid(_STEPS_G, _STEPS_G)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A picture (H, W) from 0 to 1, its kind, where its lesions are (h, w), and the last one's traits."""

    kind: Kind
    picture_HW: Grid
    mask_hw: Grid
    traits: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """What a lesion looks like; `behind` is negative for a shadow and positive for a bright echo."""

    malignant: bool
    x: float
    y: float
    width: float
    height: float
    roughness: float
    softness: float
    darkness: float
    unevenness: float
    rim_width: float
    behind: float

    @property
    def traits(self) -> tuple[float, ...]:
        """Return what a network learns to tell of it, in the order of `TRAITS`."""
        aspect = float(np.log(self.height / self.width))
        sign = float(np.sign(self.behind))
        return (self.width, self.height, aspect, self.roughness, self.softness, self.darkness, sign)


def draw_any(rng: np.random.Generator) -> Drawing:
    """Return a drawing of any kind, about as often malignant as not so."""
    return draw(rng, KINDS[rng.choice(len(KINDS), p=_SHARES)])


def draw(rng: np.random.Generator, kind: Kind) -> Drawing:
    """Return a drawing of this kind."""
    echoes_GG = _tissue(rng)
    mask_GG, traits = np.zeros((GRID, GRID)), (0.0,) * len(TRAITS)
    for lesion in _lesions(rng, kind):
        echoes_GG, inside_GG = _with(lesion, echoes_GG, rng)
        mask_GG, traits = np.maximum(mask_GG, inside_GG), lesion.traits
    return Drawing(
        kind=kind,
        picture_HW=_smaller(_scanned(echoes_GG, rng), SIDE),
        mask_hw=_smaller(mask_GG, MASK_SIDE),
        traits=traits,
    )


def _lesions(rng: np.random.Generator, kind: Kind) -> Iterator[Lesion]:
    if kind == "malignant":
        yield _malignant(rng)
    elif kind != "normal":
        together = int(rng.integers(2, 5)) if kind == "cyst" and rng.uniform() < 0.35 else 1
        for _ in range(together):
            yield _benign(rng, cyst=kind == "cyst")


def _malignant(rng: np.random.Generator) -> Lesion:
    width = rng.uniform(0.10, 0.33) if rng.uniform() < 0.9 else rng.uniform(0.33, 0.50)
    height = width * rng.uniform(0.55, 1.3)
    return Lesion(
        malignant=True,
        x=rng.uniform(0.2, 0.8),
        y=float(np.clip(rng.uniform(0.15, 0.6), 0.8 * height + 0.03, 0.7)),
        width=width,
        height=height,
        roughness=rng.uniform(0.03, 0.14),
        softness=rng.uniform(0.15, 0.7),
        darkness=rng.uniform(0.4, 1.8),
        unevenness=rng.uniform(0.1, 0.4),
        rim_width=0.2,
        behind=_behind(rng, shadow=0.6, echo=0.12),
    )


def _benign(rng: np.random.Generator, *, cyst: bool) -> Lesion:
    width = rng.uniform(0.04, 0.22) if rng.uniform() < 0.8 else rng.uniform(0.22, 0.42)
    height = width * rng.uniform(0.35, 0.9)
    return Lesion(
        malignant=False,
        x=rng.uniform(0.15, 0.85),
        y=float(np.clip(rng.uniform(0.12, 0.6), 0.9 * height + 0.03, 0.75)),
        width=width,
        height=height,
        roughness=rng.uniform(0, 0.06),
        softness=rng.uniform(0.04, 0.12) if cyst else rng.uniform(0.05, 0.3),
        darkness=rng.uniform(1.2, 3.5) if cyst else rng.uniform(0.2, 1.3),
        unevenness=0 if cyst else rng.uniform(0, 0.2),
        rim_width=0.1,
        behind=_behind(rng, shadow=0.03, echo=0.85) if cyst else _behind(rng, shadow=0.15, echo=0.4),
    )


def _behind(rng: np.random.Generator, *, shadow: float, echo: float) -> float:
    """Return what lies behind a lesion, of which these are the chances."""
    chance = rng.uniform()
    if chance < shadow:
        return -rng.uniform(0.4, 1.8)
    return rng.uniform(0.3, 1.4) if chance < shadow + echo else 0.0


def _tissue(rng: np.random.Generator) -> Grid:
    """Return a breast without a lesion: layers, ligaments, skin, gland, chest wall, and poor contact."""
    across, down = rng.uniform(6, 20), rng.uniform(1.5, 4)
    echoes_GG = rng.uniform(0.1, 0.35) * _field(rng, down, across)
    echoes_GG += rng.uniform(0.05, 0.25) * _field(rng, 1, rng.uniform(1.2, 4))
    echoes_GG += rng.uniform(0.05, 0.4) * _field(rng, rng.uniform(4, 9), rng.uniform(5, 12))
    if rng.uniform() < 0.5:  # ligaments: thin bright lines
        lines_GG = np.abs(_field(rng, rng.uniform(2, 5), rng.uniform(5, 14)))
        echoes_GG += rng.uniform(0.2, 0.7) * np.exp(-lines_GG / rng.uniform(0.1, 0.3))
    depth_GG = _Y_GG + rng.normal(0, 0.08) * (_X_GG - 0.5) + rng.normal(0, 0.1) * (_X_GG - 0.5) ** 2
    echoes_GG += rng.uniform(0, 0.7) * np.exp(-((depth_GG / rng.uniform(0.03, 0.15)) ** 2))
    echoes_GG += rng.uniform(0, 0.6) * np.exp(-(((depth_GG - rng.uniform(0.3, 0.6)) / 0.15) ** 2))
    wave_G = 0.24 * gaussian_filter(rng.standard_normal(GRID), rng.uniform(2, 8), mode="wrap")
    wall_GG = (depth_GG + wave_G - rng.uniform(0.55, 0.98)) / rng.uniform(0.01, 0.12)
    echoes_GG -= rng.uniform(0, 2) * _soft_step(wall_GG) + rng.uniform(0, 0.8) * depth_GG
    echoes_GG -= rng.uniform(0, 0.6) * 4 * (_X_GG - 0.5 + rng.normal(0, 0.1)) ** 2
    if rng.uniform() < 0.35:  # a dark stripe without a lesion
        middle = rng.integers(2) if rng.uniform() < 0.4 else rng.uniform()
        beside_GG = (_X_GG - middle - rng.normal(0, 0.1) * _Y_GG) / rng.uniform(0.04, 0.2)
        begins_GG = _soft_step((_Y_GG - rng.uniform(0, 0.6)) / 0.08)
        echoes_GG -= rng.uniform(0.2, 1.2) * np.exp(-(beside_GG**2)) * begins_GG
    return echoes_GG


def _with(lesion: Lesion, echoes_GG: Grid, rng: np.random.Generator) -> tuple[Grid, Grid]:
    """Return the tissue with the lesion, and 1 inside it, 0 outside."""
    right_GG, down_GG = _X_GG - lesion.x, _Y_GG - lesion.y
    turn = rng.normal(0, 0.25)
    along_GG = (right_GG * np.cos(turn) + down_GG * np.sin(turn)) / lesion.width
    aside_GG = (down_GG * np.cos(turn) - right_GG * np.sin(turn)) / lesion.height
    angle_GG, radius_GG = np.arctan2(aside_GG, along_GG), np.hypot(along_GG, aside_GG)
    edge_GG = np.ones_like(radius_GG)
    for lobes in range(2, 9):
        height = lesion.roughness * rng.normal() * (lobes / 2) ** (-0.5 if lesion.malignant else -1.2)
        edge_GG += height * np.cos(lobes * angle_GG + rng.uniform(0, 2 * np.pi))
    inside_GG = _soft_step(3 * (edge_GG - radius_GG) / lesion.softness)
    inner_GG = lesion.unevenness * _field(rng, 2, 3) - lesion.darkness
    drawn_GG = echoes_GG * (1 - 0.7 * inside_GG) + inner_GG * inside_GG
    from_rim_GG = (radius_GG - edge_GG - 1.2 * lesion.rim_width) / lesion.rim_width
    drawn_GG += rng.uniform(0, 0.4) * np.exp(-(from_rim_GG**2)) * (1 - inside_GG)
    beside_GG = np.abs(right_GG / (lesion.width * rng.uniform(0.7, 1)))
    behind_GG = _soft_step((down_GG - 0.6 * lesion.height) / 0.05) * np.exp(-(beside_GG**4))
    fading_GG = np.exp(-np.maximum(down_GG - lesion.height, 0) * rng.uniform(0, 2))
    return drawn_GG + lesion.behind * behind_GG * fading_GG, inside_GG


def _scanned(echoes_GG: Grid, rng: np.random.Generator) -> Grid:
    """Return the picture with speckle, a window of its own, a gamma and a blur."""
    speckle_GG = gaussian_filter(rng.standard_normal((GRID, GRID)), 0.7)
    bright_GG = np.maximum(np.exp(echoes_GG) * (1 + rng.uniform(0.05, 0.2) * speckle_GG), 0)
    white = np.percentile(bright_GG, rng.uniform(97, 100))
    grey_GG: Grid = np.clip(bright_GG / white, 0, 1) ** rng.uniform(0.7, 1.4)
    blurred_GG: Grid = gaussian_filter(grey_GG, rng.uniform(0.5, 1.2))
    return blurred_GG


def _field(rng: np.random.Generator, down: float, across: float) -> Grid:
    """Return noise of mean 0 and variance 1, blurred by so many points down and across."""
    side = GRID + 2 * _MARGIN
    blurred = gaussian_filter(rng.standard_normal((side, side)), (down, across), mode="wrap")
    field_GG: Grid = blurred[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    normed_GG: Grid = (field_GG - field_GG.mean()) / field_GG.std()
    return normed_GG


def _soft_step(distance_GG: Grid) -> Grid:
    """Return 0 far below 0, 1 far above it."""
    step_GG: Grid = 0.5 + 0.5 * np.tanh(distance_GG / 2)
    return step_GG


def _smaller(map_GG: Grid, side: int) -> Grid:
    cell = GRID // side
    smaller: Grid = map_GG.reshape(side, cell, side, cell).mean(axis=(1, 3))
    return smaller
