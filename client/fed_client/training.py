"""One round of training at a hospital in which no single patient can be noticed: patient-level DP-SGD.

Each step, in this order:
1. every patient is in by its own coin, with at most `max_images_per_patient` images drawn afresh;
2. a patient's image gradients, of all views of each, are averaged, so that all count as one patient;
3. a gradient that isn't finite becomes zero, the others are clipped to `clip_norm`;
4. the sum gets noise of `noise_multiplier * clip_norm`, also when nobody was drawn;
5. the noised sum is divided by a public number and, with what the plan's method adds, moves the weights.
Until step 4 a number can betray a patient: nothing before it is returned, logged or kept.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.algorithms.correction import Correction, correction_of
from fed_client.dataset import LabelledImages
from fed_client.descent import Descent, HostDescent
from fed_client.device_descent import DeviceDescent, stays_on_device
from fed_client.model_inputs import ModelInputs, inputs_for
from fed_client.private_step import MakeStep, PatientBatch, private_step
from fed_common.errors import FedError
from fed_common.layout import cut, flatten
from fed_common.models import trained_part
from fed_common.plans import DpTerms, TrainTerms
from fed_common.randomness import Randomness

# Shape letters: N images or views of them, S sampled patients, P parameters of the flattened model.

# Per-image gradients take 4 P bytes each; more at once are slower, they fall out of the cache.
_IMAGES_AT_ONCE = 128
# The indices of one patient's images.
Picked = NDArray[np.int64]


class TrainingStoppedError(FedError):
    """The site was asked to stop; nothing of the round leaves it, and what was charged stays charged."""


def train_privately(  # noqa: PLR0913 (four of them are seams, for tests, the audit and the machine)
    model: nn.Module,
    images: LabelledImages,
    terms: TrainTerms,
    *,
    patients_public: int,
    randomness: Randomness,
    stop: Callable[[], bool],
    make_step: MakeStep = private_step,
    noise_threads: int = 1,
    correction: Correction | None = None,
) -> NDArray[np.float64]:
    """Return how far one round moves the flat parameters; `model` itself is left as it was.

    `patients_public` is the size class of the enrolment, never the number of patients in `images`
    (privacy rule 2). The momentum starts at zero, so that a round depends on nothing but its plan and the
    `correction`, which is that of the terms' method unless another is given. Several `noise_threads` draw
    from `randomness` at once, which only the operating system's allows.

    Raises:
        TrainingStoppedError: `stop()` was true before a step.
        PrivacyError: the model has a layer whose gradients can't be told apart by patient.
    """
    local = _copy_of(trained_part(model)).train()
    inputs = inputs_for(model, images, terms)
    step = make_step(local)
    images_of = _images_by_patient(images)
    divisor = terms.dp.sampling_rate * patients_public
    if correction is None and terms.method is not None:
        correction = correction_of(terms.method, flatten(local))
    descent: Descent
    if correction is None and stays_on_device(step, randomness):
        descent = DeviceDescent(local, step, terms, divisor=divisor)
    else:  # a correction is made on the processor
        descent = HostDescent(
            local,
            step,
            terms,
            divisor=divisor,
            correction=correction,
            randomness=randomness,
            noise_threads=noise_threads,
        )
    for _ in range(terms.dp.steps):
        if stop():
            raise TrainingStoppedError("training was asked to stop")
        picked = _sample(images_of, terms.dp, randomness)
        descent.take(physical_batches(inputs, picked, numbers=descent.numbers_at_once))
    return _moved(trained_part(model), local)


def _copy_of(model: nn.Module) -> nn.Module:
    """Return a copy whose kernels have channels last, in which a processor convolves fastest."""
    copies: dict[int, object] = {}
    for parameter in model.parameters():  # each is copied once, not once more into the other order
        order = torch.channels_last if parameter.dim() == 4 else torch.contiguous_format
        copies[id(parameter)] = nn.Parameter(
            parameter.detach().clone(memory_format=order), requires_grad=parameter.requires_grad
        )
    for module in model.modules():  # most of a copy's time went to places for hooks that nobody has set
        empty = (some for some in vars(module).values() if type(some) is OrderedDict and not some)
        copies |= {id(some): OrderedDict() for some in empty}
    return copy.deepcopy(model, copies)


def _moved(before: nn.Module, after: nn.Module) -> NDArray[np.float64]:
    """Return how far the flat parameters are from where they were."""
    was, now = ([parameter.detach().cpu() for parameter in model.parameters()] for model in (before, after))
    moved_P = torch.empty(sum(map(torch.numel, was)), dtype=torch.float64)
    for piece, one, other in zip(cut(moved_P, was), now, was, strict=True):
        torch.sub(one, other, out=piece)  # one pass over each, whatever the orders of their memory are
    found_P: NDArray[np.float64] = moved_P.numpy()
    return found_P


def clip_update(delta_P: NDArray[np.float64], norm: float) -> NDArray[np.float64]:
    """Return the update, shortened to `norm` if it is longer."""
    length = float(np.linalg.norm(delta_P))
    return delta_P if length <= norm else delta_P * (norm / length)


def physical_batches(
    inputs: ModelInputs, picked: Sequence[Picked], *, numbers: int = HostDescent.numbers_at_once
) -> Iterator[PatientBatch]:
    """Yield the picked images as batches of whole patients, of so many input numbers as memory holds."""
    most = max(1, min(_IMAGES_AT_ONCE, numbers // inputs.numbers) // inputs.views)
    patients: list[Picked] = []
    for indices in picked:
        if patients and sum(map(len, patients)) + len(indices) > most:
            yield _gathered(inputs, patients)
            patients = []
        patients.append(indices)
    if patients:
        yield _gathered(inputs, patients)


def _gathered(inputs: ModelInputs, picked: Sequence[Picked]) -> PatientBatch:
    index_N = torch.from_numpy(np.concatenate(picked))
    counts_S = torch.tensor([len(indices) * inputs.views for indices in picked])
    return PatientBatch(
        images_NCHW=inputs.batch(index_N),
        labels_N=inputs.images.labels_N[index_N].repeat_interleave(inputs.views, dim=0),
        owner_N=torch.repeat_interleave(counts_S),
        num_patients=len(picked),
    )


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
