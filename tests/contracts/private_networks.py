"""Networks and batches on which private steps are compared, and torch's own derivatives for them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.private_step import PatientBatch
from fed_common.models.resnet import ResidualBlock, resnet_18
from fed_common.models.seed_cnn import seed_cnn
from fed_common.models.weight_standardisation import WeightStandardisedConvolution
from fed_common.objective import image_losses

# Shape letters: N images, C channels, H rows, W columns, P parameters of the flattened model.

NO_CLIP = 1e6
CLIP = 0.3
# An image per patient; and three patients of several, of whom two have as many.
ONE_EACH, SEVERAL = (0, 1, 2, 3), (0, 0, 0, 1, 2, 2, 3, 4, 4)

Size = tuple[int, ...]


def classified(*layers: nn.Module, features: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "linear": (lambda: nn.Linear(7, 3), (7,)),
    "linear at positions": (lambda: classified(nn.Linear(7, 5, bias=False), features=20), (4, 7)),
    "convolution": (lambda: classified(nn.Conv2d(2, 4, 3), features=144), (2, 8, 8)),
    "no bias": (lambda: classified(nn.Conv2d(2, 4, 3, bias=False), features=144), (2, 8, 8)),
    "oblong": (lambda: classified(nn.Conv2d(2, 4, (1, 3)), features=192), (2, 8, 8)),
    "stride": (lambda: classified(nn.Conv2d(2, 4, 3, stride=2), features=36), (2, 8, 8)),
    "padding": (lambda: classified(nn.Conv2d(2, 4, 3, padding=1), features=256), (2, 8, 8)),
    "dilation": (lambda: classified(nn.Conv2d(2, 4, 3, dilation=2), features=64), (2, 8, 8)),
    "groups": (lambda: classified(nn.Conv2d(4, 6, 3, groups=2), features=216), (4, 8, 8)),
    "one group each": (lambda: classified(nn.Conv2d(4, 4, 3, groups=4), features=144), (4, 8, 8)),
    "many channels, small map": (lambda: classified(nn.Conv2d(32, 48, 3), features=192), (32, 4, 4)),
    "group norm": (lambda: classified(nn.GroupNorm(2, 4), features=256), (4, 8, 8)),
    "layer norm": (lambda: classified(nn.LayerNorm([8, 8]), features=256), (4, 8, 8)),
    "layer norm of an image": (lambda: classified(nn.LayerNorm([4, 8, 8]), features=256), (4, 8, 8)),
    "residual": (lambda: classified(ResidualBlock(16, 32, stride=2), features=512), (16, 8, 8)),
    "one block, colours, oblong": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(120, 3)
        ),
        (3, 9, 13),
    ),
    "seed CNN": (lambda: seed_cnn(channels=1, size=32, classes=3), (1, 32, 32)),
    "ResNet-18": (lambda: resnet_18(channels=3, size=32, classes=3), (3, 32, 32)),
    "standardised weights": (
        lambda: classified(WeightStandardisedConvolution(4, 6, 3, groups=2), features=216),
        (4, 8, 8),
    ),
    "standardised weights, many channels": (
        lambda: classified(WeightStandardisedConvolution(32, 48, 3), features=192),
        (32, 4, 4),
    ),
    "ResNet-18, standardised weights": (
        lambda: resnet_18(channels=3, size=32, classes=3, kind=WeightStandardisedConvolution),
        (3, 32, 32),
    ),
    "residual, standardised weights": (
        lambda: classified(ResidualBlock(16, 32, stride=2, kind=WeightStandardisedConvolution), features=512),
        (16, 8, 8),
    ),
}

# With so many units some are as near to 0 as rounding is large, and which of two ways lets them through is
# chance: in float32 even torch's own gradient is up to 0.5 % from that in float64.
DEEP = ("ResNet-18", "ResNet-18, standardised weights")
COMPILED = ("seed CNN", "one block, colours, oblong")


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name][0]()


def batch_of(owners: Sequence[int], size: Size = (1, 32, 32)) -> PatientBatch:
    generator = torch.Generator().manual_seed(len(owners))
    return PatientBatch(
        images_NCHW=torch.randn(len(owners), *size, generator=generator),
        labels_N=torch.randint(0, 3, (len(owners),), generator=generator),
        owner_N=torch.tensor(owners),
        num_patients=max(owners) + 1,
    )


def by_vmap(
    model: nn.Module, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
) -> NDArray[np.float64]:
    """Return the clipped sum by torch's own differentiation, image by image."""

    def loss(
        parameters: dict[str, torch.Tensor], image_CHW: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        logits_NK = torch.func.functional_call(model, parameters, (image_CHW[None],))
        return image_losses(logits_NK, label[None], class_weights)[0]

    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(
        parameters, batch.images_NCHW, batch.labels_N
    )
    gradients_NP = torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1).double()
    total_P = torch.zeros(gradients_NP.shape[1], dtype=torch.float64)
    for patient in range(batch.num_patients):
        gradient_P = gradients_NP[batch.owner_N == patient].mean(dim=0)
        total_P += gradient_P * min(1.0, clip_norm / float(gradient_P.norm()))
    return total_P.numpy()
