"""Trains the network behind `fed_common.models.malignancy_score` on drawings, of which everything is known.

It also learns where lesions are and what traits they have: what helps there is more likely to hold for real
pictures than whatever tells drawings of one kind from those of another.
"""

# Shape letters: N drawings of H x W pixels, h x w of their masks, T traits, B drawings of a batch.

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fed_common.models.malignancy_score import ScoreNetwork
from fed_common.seeds import stream
from fed_sim.ultrasound.drawing import KINDS, TRAITS, Drawing, draw_any

_TOGETHER = 500  # drawings from one stream of chance; the package's weights were made of these
_BATCH = 128
_LEARNING_RATE = 4e-3
_WEIGHT_DECAY = 1e-3
_TRAITS_COUNT = 0.3  # how much the error in traits counts beside the others

# What the network calls normal, solid, cyst and malignant: nothing, benign, benign, malignant.
_CALLED = torch.tensor([0, 1, 1, 2])
_MALIGNANT = KINDS.index("malignant")


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawings:
    """Pictures with all that is known of them; traits have mean 0 and variance 1 over all with a lesion."""

    pictures_NHW: torch.Tensor
    kinds_N: torch.Tensor
    masks_Nhw: torch.Tensor
    traits_NT: torch.Tensor

    @property
    def malignant_N(self) -> torch.Tensor:
        """Tell which show a malignant lesion."""
        return self.kinds_N == _MALIGNANT


class _Teacher(nn.Module):
    """The network, and what it learns beside its score and then does without."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ScoreNetwork()
        self.traits = nn.Linear(ScoreNetwork.NUM_FEATURES, len(TRAITS))
        self.mask = nn.Conv2d(ScoreNetwork.NUM_MAPS, 1, 1)

    def forward(self, pictures_BHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits of kinds (B, 3), of masks (B, h, w), and traits (B, T)."""
        maps = self.network.maps(pictures_BHW)
        seen_BF = self.network.seen(maps)
        return self.network.kind(seen_BF), self.mask(maps)[:, 0], self.traits(seen_BF)


def draw_many(count: int, *, seed: int) -> Drawings:
    """Return so many drawings; equal seeds make equal ones."""
    drawn: list[Drawing] = []
    while len(drawn) < count:
        rng = stream(seed, f"breast ultrasounds/{len(drawn)}")
        drawn += [draw_any(rng) for _ in range(min(_TOGETHER, count - len(drawn)))]
    kinds_N = torch.tensor([KINDS.index(one.kind) for one in drawn])
    traits_NT = torch.tensor([one.traits for one in drawn])
    lesions_MT = traits_NT[kinds_N > 0]
    return Drawings(
        pictures_NHW=torch.from_numpy(np.stack([one.picture_HW for one in drawn])).float(),
        kinds_N=kinds_N,
        masks_Nhw=torch.from_numpy(np.stack([one.mask_hw for one in drawn])).float(),
        traits_NT=(traits_NT - lesions_MT.mean(dim=0)) / lesions_MT.std(dim=0),
    )


def trained(
    known: Drawings, *, passes: int, seed: int, told: Callable[[int, float], None] | None = None
) -> ScoreNetwork:
    """Return a network that has seen all drawings `passes` times, averaged over the last quarter of a pass.

    `told` hears of every pass' mean loss.
    """
    chance = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    teacher = _Teacher()
    batches = max(1, len(known.pictures_NHW) // _BATCH)
    over_a_quarter = get_ema_multi_avg_fn(math.exp(-4 / batches))  # type: ignore[no-untyped-call]
    averaged = AveragedModel(teacher, multi_avg_fn=over_a_quarter, use_buffers=True)
    optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=_WEIGHT_DECAY)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=passes * batches)
    for number in range(passes):
        total = 0.0
        for rows_B in _shuffled(len(known.pictures_NHW), batches, chance):
            loss = _loss(teacher, known, rows_B, chance)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
            averaged.update_parameters(teacher)
            total += float(loss.detach())
        if told is not None:
            told(number + 1, total / batches)
    return cast("_Teacher", averaged.module).network.eval().requires_grad_(False)


def _shuffled(count: int, batches: int, chance: torch.Generator) -> Iterator[torch.Tensor]:
    yield from torch.split(torch.randperm(count, generator=chance)[: batches * _BATCH], _BATCH)


def _loss(teacher: nn.Module, known: Drawings, rows_B: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    kinds_B, traits_BT = known.kinds_N[rows_B], known.traits_NT[rows_B]
    mirrored = bool(torch.rand(1, generator=chance) < 0.5)
    pictures_BHW, masks_Bhw = known.pictures_NHW[rows_B], known.masks_Nhw[rows_B]
    if mirrored:
        pictures_BHW, masks_Bhw = pictures_BHW.flip(-1), masks_Bhw.flip(-1)
    logits_B3, mask_logits_Bhw, told_BT = teacher(_as_from_elsewhere(pictures_BHW, chance))
    errors_B = (told_BT - traits_BT).square().mean(dim=1) * (kinds_B > 0)
    losses = (
        functional.cross_entropy(logits_B3, _CALLED[kinds_B]),
        functional.binary_cross_entropy_with_logits(mask_logits_Bhw, masks_Bhw),
        _TRAITS_COUNT * errors_B.mean(),
    )
    return torch.stack(losses).sum()


def _as_from_elsewhere(pictures_BHW: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Return the pictures with gammas and noise of their own."""
    shape = (len(pictures_BHW), 1, 1)
    gammas_B11 = 0.6 + 0.8 * torch.rand(shape, generator=chance)
    noises_B11 = 0.04 * torch.rand(shape, generator=chance)
    noise_BHW = torch.randn(pictures_BHW.shape, generator=chance)
    changed_BHW: torch.Tensor = pictures_BHW**gammas_B11 + noises_B11 * noise_BHW
    return changed_BHW
