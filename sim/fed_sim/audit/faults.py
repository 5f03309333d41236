"""Faults for an audit to find, each planted where it would be in earnest: what can't fail is no audit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.dataset import LabelledImages
from fed_client.private_step import PatientBatch, PrivateStep, private_step
from fed_common.ledger import PrivacyLedger
from fed_common.ledger_record import LedgerRecord
from fed_common.randomness import SystemRandomness
from fed_sim.audit.asking import PATIENTS_PUBLIC
from fed_sim.audit.hospital import SiteParts

# Shape letters: P parameters of the flattened model.

_NO_CLIP = 1e9


class ScaledNoise(SystemRandomness):
    """Noise that is too small, or too large."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add draws with `factor` times the standard deviation that was asked for."""
        super().add_noise(exact_N, std=self._factor * std)


class SameNoise(SystemRandomness):
    """Noise that comes again in every step, as that of a seeded generator made anew for each."""

    def __init__(self) -> None:
        self._drawn = np.empty(0)

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add the first draws again."""
        if self._drawn.size != exact_N.size:
            self._drawn = np.zeros(exact_N.size)
            super().add_noise(self._drawn, std=1.0)
        exact_N += std * self._drawn


class EverybodyIn(SystemRandomness):
    """Sampling that takes every patient, whatever the rate that is accounted for."""

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        """Return that all are in."""
        return np.ones(count, dtype=bool)


@dataclass(frozen=True)
class Unclipped:
    """A step that adds up patients' whole gradients."""

    whole: PrivateStep

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        """Return the sum without a bound on what one patient adds."""
        return self.whole.clipped_sum(batch, clip_norm=_NO_CLIP, class_weights=class_weights)


@dataclass(frozen=True)
class ClippedTogether:
    """A step that clips the sum of a batch instead of each patient's part."""

    whole: PrivateStep

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        """Return the sum, shortened as a whole."""
        sum_P = self.whole.clipped_sum(batch, clip_norm=_NO_CLIP, class_weights=class_weights)
        return sum_P * (clip_norm / max(clip_norm, float(np.linalg.norm(sum_P))))


class ForgetfulLedger(PrivacyLedger):
    """A ledger that begins anew in every round, as Flower's example of Opacus does."""

    @property
    def record(self) -> LedgerRecord:
        """Return no more than the last round."""
        whole = super().record
        return replace(whole, events=whole.events[-1:])


def every_image_a_patient(images: LabelledImages) -> LabelledImages:
    """Return the images as they are read where a file is taken for a patient."""
    count = len(images.labels_N)
    return replace(images, patients_N=torch.arange(count), num_patients=count)


def unclipped(model: nn.Module) -> PrivateStep:
    """Return the shipped step without its clip."""
    return Unclipped(private_step(model))


def clipped_together(model: nn.Module) -> PrivateStep:
    """Return the shipped step with the clip in the wrong place."""
    return ClippedTogether(private_step(model))


FAULTS = {
    "noise missing": SiteParts(randomness=ScaledNoise(0.0)),
    "half the noise": SiteParts(randomness=ScaledNoise(0.5)),
    "0.9 of the noise": SiteParts(randomness=ScaledNoise(0.9)),
    "noise divided twice": SiteParts(randomness=ScaledNoise(1 / PATIENTS_PUBLIC)),
    "the same noise in every step": SiteParts(randomness=SameNoise()),
    "everybody in every step": SiteParts(randomness=EverybodyIn()),
    "clipping missing": SiteParts(make_step=unclipped),
    "clipping per batch": SiteParts(make_step=clipped_together),
    "ledger reset each round": SiteParts(ledger=ForgetfulLedger),
    "patient as record": SiteParts(register=every_image_a_patient),
}
