"""Whoever trains with Opacus gets Opacus' result from the fast steps, and Opacus' accountants count them."""

import copy

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.accountants import PRVAccountant
from opacus.optimizers import DPOptimizer
from tests.client.fake_randomness import FakeRandomness
from torch.nn import functional

from fed_client.private_step import PatientBatch, private_step
from fed_client.private_step.opacus_optimizer import PatientOptimizer
from fed_common.layout import flatten
from fed_common.models.seed_cnn import seed_cnn
from fed_common.randomness import Randomness, SystemRandomness

PATIENTS, CLIP, NOISE = 6, 0.5, 1.5


def batch_of(patients: int = PATIENTS) -> PatientBatch:
    generator = torch.Generator().manual_seed(patients)
    return PatientBatch(
        images_NCHW=torch.randn(patients, 1, 32, 32, generator=generator),
        labels_N=torch.randint(0, 2, (patients,), generator=generator),
        owner_N=torch.arange(patients),
        num_patients=patients,
    )


def optimizer_of(model: torch.nn.Module, randomness: Randomness, *, noise: float = NOISE) -> PatientOptimizer:
    return PatientOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        private_step=private_step(model),
        randomness=randomness,
        noise_multiplier=noise,
        max_grad_norm=CLIP,
        expected_batch_size=PATIENTS,
    )


def test_without_noise_several_steps_are_those_of_opacus() -> None:
    torch.manual_seed(0)
    model, batch = seed_cnn(channels=1, size=32, classes=2), batch_of()
    theirs = GradSampleModule(copy.deepcopy(model))
    their_optimizer = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=PATIENTS,
    )
    # Noise of zero, on the grid of a small one.
    our_optimizer = optimizer_of(model, FakeRandomness(), noise=1e-6)

    for _ in range(3):
        their_optimizer.zero_grad()
        losses = functional.cross_entropy(theirs(batch.images_NCHW.requires_grad_()), batch.labels_N)
        torch.autograd.backward(losses)
        their_optimizer.step()
        our_optimizer.accumulate(batch)
        our_optimizer.step()

    np.testing.assert_allclose(flatten(model), flatten(theirs), atol=1e-5)


def test_opacus_accountants_count_every_step_empty_ones_too() -> None:
    accountant = PRVAccountant()
    optimizer = optimizer_of(seed_cnn(channels=1, size=32, classes=2), FakeRandomness())
    optimizer.attach_step_hook(accountant.get_optimizer_hook_fn(sample_rate=0.1))

    optimizer.accumulate(batch_of())
    optimizer.step()
    optimizer.step()

    assert accountant.history == [(NOISE, 0.1, 2)]


def test_an_empty_step_is_noised_and_keeps_nothing_of_the_last() -> None:
    model = seed_cnn(channels=1, size=32, classes=2)
    optimizer = optimizer_of(model, SystemRandomness())
    optimizer.accumulate(batch_of())
    optimizer.step()

    optimizer.step()

    gradient_P = torch.cat([torch.as_tensor(parameter.grad).flatten() for parameter in model.parameters()])
    # Of 23,426 parameters: a relative standard error of 0.5 %.
    assert float(gradient_P.std()) == pytest.approx(NOISE * CLIP / PATIENTS, rel=0.03)
    assert abs(float(gradient_P.mean())) < 6 * NOISE * CLIP / PATIENTS / 23_426**0.5


def test_physical_batches_make_one_step() -> None:
    whole, halves = (seed_cnn(channels=1, size=32, classes=2) for _ in range(2))
    halves.load_state_dict(whole.state_dict())
    of_whole, of_halves = (optimizer_of(model, FakeRandomness(), noise=1e-6) for model in (whole, halves))
    batch = batch_of()

    of_whole.accumulate(batch)
    for first_half in (True, False):
        of_halves.accumulate(batch.only((torch.arange(PATIENTS) < PATIENTS // 2) == first_half))
    of_whole.step()
    of_halves.step()

    np.testing.assert_allclose(flatten(whole), flatten(halves), atol=1e-6)
