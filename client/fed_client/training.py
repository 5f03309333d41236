"""One round of training at a hospital in which no single patient can be noticed: patient-level DP-SGD.

Each step, in this order:
1. every patient is in by its own coin, with at most `max_images_per_patient` images drawn afresh;
2. a patient's image gradients are averaged, so that many images count as one patient;
3. a gradient that isn't finite becomes zero, the others are clipped to `clip_norm`;
4. the sum gets noise of `noise_multiplier * clip_norm`, also when nobody was drawn;
5. the noised sum is divided by a public number and moves the weights.
Until step 4 a number can betray a patient: nothing before it is returned, logged or kept.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import nn

from fed_client.dataset import LabelledImages
from fed_common.errors import FedError, PrivacyError
from fed_common.greys import USUAL
from fed_common.layout import flatten, load_flat
from fed_common.objective import image_losses
from fed_common.plans import DpTerms, Normalisation, TrainTerms
from fed_common.randomness import Randomness, snap

# Shape letters: N images, K classes, S sampled patients, P parameters of the flattened model.

# Per-image gradients take 4 P bytes each; more at once are slower, they fall out of the cache.
_IMAGES_AT_ONCE = 128

# The indices of one patient's images.
Picked = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The public constants that a gradient depends on besides model and images."""

    normalisation: Normalisation = USUAL
    class_weights: tuple[float, ...] = ()


_USUAL = Objective()


class TrainingStoppedError(FedError):
    """The site was asked to stop; nothing of the round leaves it, and what was charged stays charged."""


def train_privately(
    model: nn.Module,
    images: LabelledImages,
    terms: TrainTerms,
    *,
    patients_public: int,
    randomness: Randomness,
    stop: Callable[[], bool],
) -> NDArray[np.float64]:
    """Return how far one round moves the flat parameters; `model` itself is left as it was.

    `patients_public` is the size class of the enrolment, never the number of patients in `images`
    (privacy rule 2). The momentum starts at zero, so that a round depends on nothing but its plan.

    Raises:
        TrainingStoppedError: `stop()` was true before a step.
        PrivacyError: the model has a layer whose gradients can't be told apart by patient.
    """
    # Opacus 1.6.0 unfolds a convolution's input as if it were contiguous: with channels_last, which is
    # faster, the gradients of all but the first layer come out wrong.
    local = copy.deepcopy(model).to(memory_format=torch.contiguous_format).train()  # type: ignore[call-overload]
    per_image = per_image_gradients(local)
    objective = Objective(normalisation=terms.normalisation, class_weights=terms.class_weights)
    images_of = _images_by_patient(images)
    divisor = terms.dp.sampling_rate * patients_public
    start_P = flatten(local).astype(np.float64)
    weights_P, velocity_P = start_P.copy(), np.zeros_like(start_P)
    for _ in range(terms.dp.steps):
        if stop():
            raise TrainingStoppedError("training was asked to stop")
        picked = _sample(images_of, terms.dp, randomness)
        sum_P = clipped_sum(per_image, images, picked, clip_norm=terms.dp.clip_norm, objective=objective)
        velocity_P = terms.momentum * velocity_P + _noised(sum_P, terms.dp, randomness) / divisor
        weights_P -= terms.learning_rate * velocity_P
        load_flat(local, weights_P)
    return weights_P - start_P


def clip_update(delta_P: NDArray[np.float64], norm: float) -> NDArray[np.float64]:
    """Return the update, shortened to `norm` if it is longer."""
    length = float(np.linalg.norm(delta_P))
    return delta_P if length <= norm else delta_P * (norm / length)


def per_image_gradients(model: nn.Module) -> GradSampleModule:
    """Return `model` with hooks that keep each image's own gradient.

    Raises:
        PrivacyError: the model has a layer whose gradients can't be told apart by image.
    """
    try:
        return GradSampleModule(model, loss_reduction="sum", strict=True)
    except NotImplementedError as error:
        raise PrivacyError(f"the model can't be trained privately: {error}") from error


def clipped_sum(
    model: GradSampleModule,
    images: LabelledImages,
    picked: Sequence[Picked],
    *,
    clip_norm: float,
    objective: Objective = _USUAL,
) -> NDArray[np.float64]:
    """Return the sum over patients of their clipped mean gradients.

    One patient more or less changes it by at most `clip_norm`, whatever its pixels are (steps 2 and 3).
    """
    total_P = torch.zeros(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    for batch in _batches(picked):
        gradients_SP = patient_gradients(model, images, batch, objective)
        norms_S = torch.linalg.vector_norm(gradients_SP, dim=1, dtype=torch.float64)
        finite_S = norms_S.isfinite()
        gradients_SP[~finite_S] = 0  # not by their factor: 0 * NaN is NaN
        factors_S = torch.where(finite_S, (clip_norm / norms_S).clamp(max=1), 0)
        total_P += factors_S @ gradients_SP.double()
    return total_P.numpy()


def patient_gradients(
    model: GradSampleModule,
    images: LabelledImages,
    picked: Sequence[Picked],
    objective: Objective = _USUAL,
) -> torch.Tensor:
    """Return each patient's gradient (S, P): the mean over its picked images (step 2)."""
    index_N = torch.from_numpy(np.concatenate(picked))
    counts_S = torch.tensor([len(indices) for indices in picked])
    owner_N = torch.repeat_interleave(counts_S)
    # Without a gradient at the pixels, torch warns that Opacus' hook on the first layer may miss inputs.
    logits_NK = model(images.batch(index_N, objective.normalisation).requires_grad_())
    # A sum of independent losses: a mean would couple the patients (privacy rule 13).
    losses_N = image_losses(logits_NK, images.labels_N[index_N], objective.class_weights)
    torch.autograd.backward(losses_N.sum())
    gradients_NP = torch.cat([parameter.grad_sample.flatten(1) for parameter in model.parameters()], dim=1)
    model.zero_grad(set_to_none=True)
    sums_SP = torch.zeros(len(picked), gradients_NP.shape[1]).index_add_(0, owner_N, gradients_NP)
    return sums_SP / counts_S[:, None]


def _images_by_patient(images: LabelledImages) -> list[Picked]:
    patients_N = images.patients_N.numpy()
    order_N = np.argsort(patients_N, kind="stable")
    starts = np.searchsorted(patients_N[order_N], np.arange(1, images.num_patients))
    return np.split(order_N, starts)


def _sample(images_of: list[Picked], dp: DpTerms, randomness: Randomness) -> list[Picked]:
    """Return the images of this step, patient by patient (step 1)."""
    mask = randomness.poisson_mask(len(images_of), rate=dp.sampling_rate)
    drawn = [images_of[patient] for patient in np.flatnonzero(mask)]
    most = dp.max_images_per_patient
    return [indices[randomness.choose(len(indices), most=most)] for indices in drawn]


def _noised(sum_P: NDArray[np.float64], dp: DpTerms, randomness: Randomness) -> NDArray[np.float64]:
    """Return the sum with noise for one patient's share of it (step 4)."""
    std = dp.noise_multiplier * dp.clip_norm
    return snap(sum_P + randomness.gaussian(sum_P.size, std=std), std=std)


def _batches(picked: Sequence[Picked]) -> Iterator[list[Picked]]:
    """Yield whole patients, about `_IMAGES_AT_ONCE` images together."""
    batch: list[Picked] = []
    for indices in picked:
        if batch and sum(map(len, batch)) + len(indices) > _IMAGES_AT_ONCE:
            yield batch
            batch = []
        batch.append(indices)
    if batch:
        yield batch
