"""The ways to take a training step that `fed-sim bench step` compares, Opacus' as its documents say."""

# Shape letters: N images, C channels, H rows, W columns.

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from fed_client.dataset import LabelledImages
from fed_client.private_step import MakeStep, private_step
from fed_client.training import train_privately
from fed_common.models import ModelSpec, build_model
from fed_common.plans import DpTerms, TrainTerms
from fed_common.randomness import SystemRandomness

PLAIN = "plain SGD"
OURS = "ours"
OPACUS_WAYS = ("Opacus hooks", "Opacus ew", "Opacus ghost")

_RATE, _NOISE, _CLIP = 0.01, 1.0, 1.0
_DEVICE = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and a batch; `steps` of it are timed together."""

    name: str
    spec: ModelSpec
    images: int
    steps: int


# A way takes the case's steps.
Way = Callable[[], None]


def ways_of(case: Case) -> dict[str, Callable[[], Way]]:
    """Return what makes each way, with a network of its own, on the GPU where there is one."""
    # Here, as in `_opacus`: no other command of `fed-sim` should wait 2 seconds for Opacus.
    from fed_client.private_step.opacus_step import OpacusStep  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    side = case.spec.size
    images_NCHW = torch.randn(case.images, case.spec.channels, side, side, generator=generator)
    labels_N = torch.randint(0, case.spec.classes, (case.images,), generator=generator)
    given = (case, images_NCHW.to(_DEVICE), labels_N.to(_DEVICE))
    return {
        PLAIN: partial(_plain, *given, torch.contiguous_format),
        "plain SGD, channels last": partial(_plain, *given, torch.channels_last),
        "Opacus hooks": partial(_opacus, *given, "hooks"),
        "Opacus ew": partial(_opacus, *given, "ew"),
        "Opacus ghost": partial(_opacus, *given, "ghost"),
        "torch.func": partial(_torch_func, *given),
        "ours by Opacus' hooks": partial(_ours, case, images_NCHW, labels_N, OpacusStep),
        OURS: partial(_ours, case, images_NCHW, labels_N, private_step),
    }


def _ours(case: Case, images_NCHW: torch.Tensor, labels_N: torch.Tensor, make_step: MakeStep) -> Way:
    """Return a round of private training as a hospital runs it, with every patient in each step."""
    model = build_model(case.spec)
    patients = LabelledImages(
        images_NCHW=images_NCHW,
        labels_N=labels_N,
        patients_N=torch.arange(case.images),
        num_patients=case.images,
    )
    dp = DpTerms(
        noise_multiplier=_NOISE,
        clip_norm=_CLIP,
        sampling_rate=1.0,
        steps=case.steps,
        max_images_per_patient=4,
    )
    terms = TrainTerms(dp=dp, learning_rate=_RATE, momentum=0.0, update_clip=10.0)

    def round_of_training() -> None:
        train_privately(
            model,
            patients,
            terms,
            patients_public=case.images,
            randomness=SystemRandomness(),
            stop=lambda: False,
            make_step=make_step,
            noise_threads=torch.get_num_threads(),
        )

    return round_of_training


def _plain(case: Case, images_NCHW: torch.Tensor, labels_N: torch.Tensor, order: torch.memory_format) -> Way:
    model = build_model(case.spec).to(_DEVICE, memory_format=order)  # type: ignore[call-overload]
    images_NCHW = images_NCHW.contiguous(memory_format=order)
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE)

    def steps() -> None:
        for _ in range(case.steps):
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model(images_NCHW), labels_N))
            optimizer.step()

    return steps


def _opacus(
    case: Case,
    images_NCHW: torch.Tensor,
    labels_N: torch.Tensor,
    mode: Literal["hooks", "ew", "ghost"],
) -> Way:
    from opacus.grad_sample.utils import wrap_model  # noqa: PLC0415
    from opacus.optimizers import get_optimizer_class  # noqa: PLC0415
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping  # noqa: PLC0415

    of_ghost = {"max_grad_norm": _CLIP, "use_ghost_clipping": True} if mode == "ghost" else {}
    model = wrap_model(build_model(case.spec).to(_DEVICE), grad_sample_mode=mode, **of_ghost)
    optimizer = get_optimizer_class("flat", distributed=False, grad_sample_mode=mode)(
        torch.optim.SGD(model.parameters(), lr=_RATE),
        noise_multiplier=_NOISE,
        max_grad_norm=_CLIP,
        expected_batch_size=len(labels_N),
    )
    criterion = nn.CrossEntropyLoss()
    if mode == "ghost":
        criterion = DPLossFastGradientClipping(model, optimizer, criterion)

    def steps() -> None:
        for _ in range(case.steps):
            optimizer.zero_grad()
            criterion(model(images_NCHW), labels_N).backward()
            optimizer.step()

    return steps


def _torch_func(case: Case, images_NCHW: torch.Tensor, labels_N: torch.Tensor) -> Way:
    model = build_model(case.spec).to(_DEVICE)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(weights: dict[str, torch.Tensor], image_CHW: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits_NK = torch.func.functional_call(model, weights, (image_CHW[None],))
        return functional.cross_entropy(logits_NK, label[None])

    gradients_of = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))

    def steps() -> None:
        for _ in range(case.steps):
            gradients = gradients_of(parameters, images_NCHW, labels_N)
            squared_N = sum(gradient.flatten(1).square().sum(1) for gradient in gradients.values())
            factors_N = (_CLIP / torch.as_tensor(squared_N).sqrt()).clamp(max=1)
            for name, gradient in gradients.items():
                summed = torch.tensordot(factors_N, gradient, dims=1)
                noised = summed + torch.normal(0.0, _NOISE * _CLIP, summed.shape, device=_DEVICE)
                parameters[name] -= _RATE / len(labels_N) * noised

    return steps
