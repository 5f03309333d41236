"""Canaries are what the readings take them for: one long direction each, and nothing anywhere else."""

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.private_step import PatientBatch, private_step
from fed_common.greys import model_input
from fed_common.layout import load_flat
from fed_common.models import build_model
from fed_sim.audit.canaries import (
    NUM_CANARIES,
    SPEC,
    canary_images,
    canary_label,
    noise_only,
    planted_parameters,
    scores,
)

NUMBERS = [0, 1, 35, 36, 1001, NUM_CANARIES - 1]


def sum_over(numbers: list[int], *, clip_norm: float) -> NDArray[np.float64]:
    model = build_model(SPEC)
    load_flat(model, planted_parameters())
    batch = PatientBatch(
        images_NCHW=model_input(torch.from_numpy(canary_images(numbers))),
        labels_N=torch.tensor([canary_label(number) for number in numbers]),
        owner_N=torch.arange(len(numbers)),
        num_patients=len(numbers),
    )
    return private_step(model).clipped_sum(batch, clip_norm=clip_norm).astype(np.float64)


def test_a_canary_scores_one_clip_norm_in_its_own_direction_and_nothing_in_others() -> None:
    scored_I = scores(sum_over(NUMBERS, clip_norm=1.0))

    np.testing.assert_allclose(scored_I[NUMBERS], 1, atol=0.005)  # a little of each goes into the bias
    np.testing.assert_allclose(np.delete(scored_I, NUMBERS), 0, atol=1e-6)


def test_a_canarys_own_gradient_is_far_longer_than_the_clip() -> None:
    assert np.linalg.norm(sum_over([7], clip_norm=1e9)) > 10


def test_no_canary_moves_the_coordinates_in_which_noise_is_measured() -> None:
    assert not noise_only(sum_over(NUMBERS, clip_norm=1e9)).any()
