"""What the linear head of the scattering network learns from: one vector of length 1 for each picture.

Few noised steps go far only where all directions are about as wide. So the coefficients are decorrelated,
with constants taken from noise whose spectrum is that of medical images: no hospital's picture is in them.
Of length 1, no picture can move the head further than another.

Sources: Tramer and Boneh, "Differentially Private Learning Needs Better Features (or Much More Data)" (2021);
Burgess, Jacobson and Judy, "Human Observer Detection Experiments with Mammograms and Power-Law Noise" (2001)
for the spectrum.
"""

# Shape letters: N images, C channels, H rows, W columns, B pictures, F scattering coefficients, Q places of a
# 2 x 2 map, D features, E features beside them.

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fed_common.greys import USUAL
from fed_common.models.scattering import ANGLES, NUM_COEFFICIENTS, SCALES, scatter
from fed_common.randomness import keystream

PLACES = 4
FLOOR = 1e-3  # below this grey, a coefficient's logarithm tells of rounding
# Directions that noise hardly has aren't blown up further than this share of the mean allows; the larger one
# is for so few patients that only wide directions rise above what hides each of them.
RIDGE, RIDGE_FOR_FEW = 1e-2, 10.0
CONSTANT = 0.1  # the feature that is the same for every picture, for the head's bias
POWER_LAW = 1.5  # a wave's amplitude falls with its frequency to this power
NOISE_PICTURES = 256
NOISE_SIDE = 32

# Pictures at once: their envelopes stay below 40 MB for 32 x 32 pixels.
_AT_ONCE = 16


class ScatteringFeatures(nn.Module):
    """Turns images (N, C, H, W) into features (N, D); it has no weights, so nothing of it travels."""

    def __init__(self, ridge: float = RIDGE) -> None:
        super().__init__()
        self._ridge = ridge

    def extra_repr(self) -> str:
        """Return what the features depend on besides the images."""
        return constants(self._ridge)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the features; an image depends on no other."""
        # Logarithms need greys from 0 to 1 again.
        greys_NCHW = images_NCHW * USUAL.spread + USUAL.mean
        return beside(torch.full((len(greys_NCHW), 1), CONSTANT), self.unit(greys_NCHW))

    def unit(self, greys_NCHW: torch.Tensor) -> torch.Tensor:
        """Return what depends on the image, of length 1, for greys from 0 to 1."""
        whitening = _whitening(self._ridge)
        parts = torch.split(greys_NCHW.flatten(0, 1), _AT_ONCE)
        features_BD = torch.cat([_whitened(part, whitening) for part in parts])
        return functional.normalize(features_BD.reshape(len(greys_NCHW), -1), dim=1)


def beside(few_NE: torch.Tensor, unit_ND: torch.Tensor) -> torch.Tensor:
    """Return features of length 1: the few as they are, and those of length 1 shortened to make room."""
    room_N1 = 1 - few_NE.square().sum(dim=1, keepdim=True)
    return torch.cat([unit_ND * room_N1.sqrt(), few_NE], dim=1)


def constants(ridge: float) -> str:
    """Return all that the features depend on besides the images."""
    return (
        f"scattering {SCALES} {ANGLES}, places {PLACES}, floor {FLOOR}, ridge {ridge}, constant {CONSTANT}, "
        f"noise {POWER_LAW} {NOISE_PICTURES} {NOISE_SIDE}"
    )


def num_features(channels: int) -> int:
    """Return D."""
    return channels * NUM_COEFFICIENTS * PLACES + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Whitening:
    """The mean of pictures of noise, and what makes their coefficients uncorrelated and of equal width."""

    mean_F1: torch.Tensor
    decorrelate_FF: torch.Tensor
    gain_Q: torch.Tensor


def _whitened(greys_BHW: torch.Tensor, whitening: _Whitening) -> torch.Tensor:
    centred_BFQ = _contrasts(greys_BHW) - whitening.mean_F1 * torch.eye(PLACES)[0]
    return (whitening.decorrelate_FF @ centred_BFQ * whitening.gain_Q).flatten(1)


def _contrasts(greys_BHW: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the coefficients: their mean, and what differs across, down and diagonally."""
    maps_BFhw = scatter(greys_BHW).clamp(min=0).add(FLOOR).log()
    places_BFQ = functional.adaptive_avg_pool2d(maps_BFhw, 2).flatten(2)
    signs_QQ = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    return places_BFQ @ (signs_QQ / 2).to(places_BFQ.dtype)


@lru_cache(maxsize=2)
def _whitening(ridge: float) -> _Whitening:
    """Return the constants; they are the same on every machine, but for rounding."""
    contrasts_BFQ = torch.cat([_contrasts(part) for part in torch.split(_noise(), _AT_ONCE)]).double()
    mean_FQ = contrasts_BFQ.mean(dim=0)
    centred_QBF = (contrasts_BFQ - mean_FQ).permute(2, 0, 1)
    covariances_QFF = centred_QBF.mT @ centred_QBF / len(contrasts_BFQ)
    widths_Q = covariances_QFF.diagonal(dim1=1, dim2=2).mean(dim=1)
    shared_FF = (covariances_QFF / widths_Q[:, None, None]).mean(dim=0)
    values_F, vectors_FF = torch.linalg.eigh(shared_FF)
    return _Whitening(
        mean_F1=mean_FQ[:, :1].float(),
        # Symmetric, so that it doesn't hang on the order and the signs of the vectors.
        decorrelate_FF=((vectors_FF * (values_F + ridge).rsqrt()) @ vectors_FF.T).float(),
        gain_Q=widths_Q.rsqrt().float(),
    )


def _noise() -> torch.Tensor:
    """Return pictures of noise, each from black to white; its bits are the digits of a cipher with key 0."""
    side = 2 * NOISE_SIDE  # cut out of more, so that opposite borders don't fit together
    count = NOISE_PICTURES * side * side
    digits = np.frombuffer(keystream(bytes(32), bytes(16), 8 * count), dtype="<u4").astype(np.float64)
    # Their sum of two is triangular, which is as good as normal once it is filtered.
    white_BHW = digits.reshape(NOISE_PICTURES, side, side, 2).sum(axis=3)
    frequency_H = np.fft.fftfreq(side)
    frequency_HW = np.hypot(frequency_H[:, None], frequency_H)
    frequency_HW[0, 0] = np.inf
    coloured_BHW = np.fft.ifft2(np.fft.fft2(white_BHW) * frequency_HW**-POWER_LAW).real
    pictures_BHW = coloured_BHW[:, :NOISE_SIDE, :NOISE_SIDE]
    black_B11, white_B11 = (edge(pictures_BHW, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return torch.from_numpy((pictures_BHW - black_B11) / (white_B11 - black_B11)).float()
