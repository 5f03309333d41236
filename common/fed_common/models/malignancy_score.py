"""How malignant a breast ultrasound looks to a network that has seen nothing but drawings.

`fed-sim pretrain` draws the pictures and trains the network; no patient's picture is in its weights, which
lie beside this file. Where hospitals have some hundred patients, private training has less to find out.
"""

# Shape letters: N pictures of H x W pixels, F features of a picture.

from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from fed_common.names import Digest, digest_of

SIDE = 32
FILE = Path(__file__).with_name("malignancy_score.safetensors")

_WIDTH = 12
_EVEN = 1e-3  # pictures that are more even than this aren't made more contrasty


class ScoreNetwork(nn.Module):
    """Eight convolutions; from pictures (N, 1, SIDE, SIDE) to features (N, F) and three logits (N, 3)."""

    NUM_MAPS = 2 * _WIDTH
    NUM_FEATURES = 64

    def __init__(self) -> None:
        super().__init__()
        width = _WIDTH
        self.fine = nn.Sequential(
            *_convolution(1, width),
            *_convolution(width, width),
            *_convolution(width, 2 * width, stride=2),
            *_convolution(2 * width, 2 * width),
        )
        self.coarse = nn.Sequential(
            *_convolution(2 * width, 4 * width, stride=2),
            *_convolution(4 * width, 4 * width),
            *_convolution(4 * width, 4 * width, stride=2),
            *_convolution(4 * width, 4 * width),
        )
        self.mix = nn.Linear(8 * width, self.NUM_FEATURES)
        self.kind = nn.Linear(self.NUM_FEATURES, 3)  # nothing, a benign lesion, a malignant one

    def maps(self, pictures_NHW: torch.Tensor) -> torch.Tensor:
        """Return maps of half the side, whatever the pictures' brightness and contrast are."""
        mean_N11 = pictures_NHW.mean(dim=(1, 2), keepdim=True)
        spread_N11 = pictures_NHW.std(dim=(1, 2), keepdim=True) + _EVEN
        maps: torch.Tensor = self.fine(((pictures_NHW - mean_N11) / spread_N11)[:, None])
        return maps

    def seen(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the features (N, F) of `maps`."""
        coarse = self.coarse(maps)
        return functional.relu(self.mix(torch.cat([coarse.mean(dim=(2, 3)), coarse.amax(dim=(2, 3))], dim=1)))

    def forward(self, pictures_NHW: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the odds that each is malignant (N,)."""
        logits_N3 = self.kind(self.seen(self.maps(pictures_NHW)))
        odds_N: torch.Tensor = logits_N3[:, 2] - logits_N3[:, :2].logsumexp(dim=1)
        return odds_N


def malignancy_score(greys_NHW: torch.Tensor) -> torch.Tensor:
    """Return the score of greys from 0 to 1, of any size (N,); a mirrored picture has the same."""
    pictures_NHW = functional.adaptive_avg_pool2d(greys_NHW, SIDE)
    network = _network()
    odds_N: torch.Tensor = (network(pictures_NHW) + network(pictures_NHW.flip(-1))) / 2
    return odds_N


@lru_cache
def weights_digest() -> Digest:
    """Name the weights, for the fingerprint of models that look through them."""
    return digest_of(_packaged())


def weights_of(network: ScoreNetwork) -> bytes:
    """Return the network as a safetensors file, in half precision."""
    state = network.state_dict().items()
    return save({name: value.half() if value.is_floating_point() else value for name, value in state})


def load_weights(weights: bytes) -> ScoreNetwork:
    """Return the network that `weights_of` made `weights` of, ready to judge."""
    network = ScoreNetwork()
    network.load_state_dict(load(weights))  # to float32 by itself
    return network.eval().requires_grad_(False)


@lru_cache
def _network() -> ScoreNetwork:
    return load_weights(_packaged())


@lru_cache
def _packaged() -> bytes:
    """Return what is in the package: read once, so that what judges is what the fingerprint names."""
    return FILE.read_bytes()


def _convolution(channels: int, maps: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, maps, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(maps), nn.ReLU(inplace=True)
