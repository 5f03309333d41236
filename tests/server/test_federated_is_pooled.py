"""What the whole way of a round computes: without noise and clipping it is SGD on all patients together."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    COHORT,
    COORDINATOR_KEY,
    FIRST_P,
    MODEL,
    MODEL_OF_SEVERAL,
    POLICY,
    SEVERAL,
    SITE_KEYS,
    TASK,
    DirectExchange,
    coordinator_log,
    dataset_of,
    opened_site,
    plan_of,
    several_labels_of,
)
from torch.nn import functional

from fed_client.dataset import SiteDataset
from fed_common.checkpoint import parameter_bytes
from fed_common.greys import USUAL, model_input
from fed_common.layout import flatten, load_flat
from fed_common.messages import RoundPlan
from fed_common.models import ModelSpec, build_model, initial_parameters
from fed_common.names import SiteName, body_digest
from fed_common.plans import DpTerms, Normalisation, TrainTerms
from fed_common.task import Task
from fed_server.aggregation import WeightedMean
from fed_server.rounds import Coordinator, run_round

# No gradient is longer than 200. Noise is not drawn, but its grid of 2**-14 in the sum is there: 3e-7 here.
DP = DpTerms(noise_multiplier=0.3, clip_norm=200.0, sampling_rate=1.0, steps=1, max_images_per_patient=2)
TERMS = TrainTerms(dp=DP, learning_rate=0.1, momentum=0.0, update_clip=1e3)
OPEN_POLICY = replace(
    POLICY, epsilon=1000.0, min_noise_multiplier=0.3, max_clip_norm=200.0, max_sampling_rate=1.0
)


# Public constants that are far from the usual ones.
MEASURED = replace(TERMS, normalisation=Normalisation(mean=0.3, spread=0.5))


def federated(
    folder: Path,
    plan: RoundPlan,
    first_P: NDArray[np.float32],
    *,
    task: Task,
    datasets: Mapping[SiteName, SiteDataset],
) -> NDArray[np.float64]:
    """Return the parameters after one round at three sites of 4, 8 and 16 patients."""
    policy = replace(OPEN_POLICY, allowed_models=(plan.model,))
    with ExitStack() as stack:
        sites = {
            name: stack.enter_context(
                opened_site(
                    folder / name,
                    name=name,
                    policy=policy,
                    dataset=data,
                    randomness=FakeRandomness(),
                    task=task,
                )
            )
            for name, data in datasets.items()
        }
        coordinator = Coordinator(
            key=COORDINATOR_KEY,
            site_keys={name: key.verifying_key for name, key in SITE_KEYS.items()},
            officer_keys={},
            log=coordinator_log(),
            exchange=DirectExchange({name: site.answer for name, site in sites.items()}),
            quorum=3,
            deadline_s=60.0,
        )
        outcome = run_round(
            plan,
            parameter_bytes(first_P),
            WeightedMean(len(first_P)),
            coordinator=coordinator,
            check=lambda reply: reply,
            on_reply=lambda reply: None,
        )
    assert outcome.result is not None
    assert np.abs(outcome.result).max() > 1e-3
    return first_P + outcome.result


def pooled(
    spec: ModelSpec,
    first_P: NDArray[np.float32],
    datasets: Mapping[SiteName, SiteDataset],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    normalisation: Normalisation = USUAL,
) -> NDArray[np.float32]:
    """Return the parameters after one step of torch's SGD on all images in one place."""
    model = build_model(spec)
    load_flat(model, first_P)
    images_NCHW = torch.cat([data.train.images_NCHW for data in datasets.values()])
    labels_N = torch.cat([data.train.labels_N for data in datasets.values()])
    optimizer = torch.optim.SGD(model.parameters(), lr=TERMS.learning_rate)
    torch.autograd.backward(loss_of(model(model_input(images_NCHW, normalisation)), labels_N))
    optimizer.step()
    return flatten(model)


def test_three_sites_of_different_sizes_step_as_one_pooled_site(tmp_path: Path) -> None:
    datasets = {site.name: dataset_of(site.patients, seed=site.patients) for site in COHORT}
    stepped_P = federated(tmp_path, plan_of(TERMS), FIRST_P, task=TASK, datasets=datasets)
    expected_P = pooled(MODEL, FIRST_P, datasets, functional.cross_entropy)
    np.testing.assert_allclose(stepped_P, expected_P, atol=1e-6)


def test_in_8_bits_three_sites_step_as_one_pooled_site_but_for_the_rounding(tmp_path: Path) -> None:
    datasets = {site.name: dataset_of(site.patients, seed=site.patients) for site in COHORT}
    plan = plan_of(replace(TERMS, encoding="8-bit"))
    stepped_P = federated(tmp_path, plan, FIRST_P, task=TASK, datasets=datasets)
    expected_P = pooled(MODEL, FIRST_P, datasets, functional.cross_entropy)
    step = np.abs(expected_P - FIRST_P).max() / 127
    # Sites differ, and so do their scales: by far less than 10 times.
    assert 1e-6 < np.abs(stepped_P - expected_P).max() < 10 * step
    assert abs(np.mean(stepped_P - expected_P)) < step / np.sqrt(len(FIRST_P))


def test_class_weights_and_normalisation_step_as_at_one_pooled_site(tmp_path: Path) -> None:
    datasets = {site.name: dataset_of(site.patients, seed=site.patients) for site in COHORT}
    weights = (0.5, 2.0)
    plan = plan_of(replace(MEASURED, class_weights=weights))
    stepped_P = federated(tmp_path, plan, FIRST_P, task=TASK, datasets=datasets)

    def weighted(logits_NK: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        # Divided by the number of images: torch's own mean would divide by the sum of the weights.
        losses = functional.cross_entropy(logits_NK, labels_N, weight=torch.tensor(weights), reduction="sum")
        return losses / len(labels_N)

    expected_P = pooled(MODEL, FIRST_P, datasets, weighted, normalisation=MEASURED.normalisation)
    np.testing.assert_allclose(stepped_P, expected_P, atol=1e-6)


def test_several_labels_step_as_at_one_pooled_site(tmp_path: Path) -> None:
    datasets = {
        site.name: replace(
            dataset_of(site.patients), train=several_labels_of(site.patients, seed=site.patients)
        )
        for site in COHORT
    }
    first_P = initial_parameters(MODEL_OF_SEVERAL, seed=0)
    weights = (0.5, 2.0, 0.5)
    plan = replace(
        plan_of(replace(MEASURED, class_weights=weights)),
        task=SEVERAL.digest,
        model=MODEL_OF_SEVERAL.fingerprint,
        parameters=body_digest(parameter_bytes(first_P)),
    )
    stepped_P = federated(tmp_path, plan, first_P, task=SEVERAL, datasets=datasets)

    def binary(logits_NK: torch.Tensor, labels_NK: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(logits_NK, labels_NK, weight=torch.tensor(weights))

    expected_P = pooled(MODEL_OF_SEVERAL, first_P, datasets, binary, normalisation=MEASURED.normalisation)
    np.testing.assert_allclose(stepped_P, expected_P, atol=1e-6)
