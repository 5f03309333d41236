"""What a network's own file says about it, so that everything else can treat all of them alike."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn


class Build(Protocol):
    """Makes the network, from images (N, channels, size, size) to logits (N, classes)."""

    def __call__(self, *, channels: int, size: int, classes: int) -> nn.Module:
        """Return the network with torch's own first weights; it has no buffers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of network and the sides in pixels of the images that it takes.

    `constants` is what decides its outputs besides the weights; the fingerprint covers it.
    """

    sizes: range
    build: Build
    constants: str = ""
