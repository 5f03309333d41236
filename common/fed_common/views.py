"""Ways to look at one picture that don't change what it shows: mirrored, and moved by a few pixels.

A patient's gradient is the mean over all of them before it is clipped, so they cost no privacy.

Source: De et al., "Unlocking High-Accuracy Differentially Private Image Classification through Scale" (2022),
section 3.4, augmentation multiplicity; here the same views in every step, so that features are computed once.
"""

# Shape letters: N images, V views, C channels, H rows, W columns.

import torch
from torch.nn import functional

# Down and right, in sixteenths of a side; each as it is and mirrored.
_MOVES = ((0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))


def views_of(images_NCHW: torch.Tensor, count: int) -> torch.Tensor:
    """Return the first `count` views of each image (N, V, C, H, W): itself, its mirror image, and so on."""
    return torch.stack([_view(images_NCHW, number) for number in range(count)], dim=1)


def _view(images_NCHW: torch.Tensor, number: int) -> torch.Tensor:
    down, right = _MOVES[number // 2]
    height, width = images_NCHW.shape[-2:]
    step = height // 16
    if number >= 2:
        framed = functional.pad(images_NCHW, (step,) * 4, mode="replicate")
        top, left = step - down * step, step - right * step
        images_NCHW = framed[..., top : top + height, left : left + width]
    return images_NCHW.flip(-1) if number % 2 else images_NCHW
