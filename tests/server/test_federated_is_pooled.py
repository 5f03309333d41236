"""What the whole way of a round computes: without noise and clipping it is SGD on all patients together."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    COHORT,
    COORDINATOR_KEY,
    FIRST_P,
    MODEL,
    NUM_PARAMETERS,
    POLICY,
    SITE_KEYS,
    DirectExchange,
    dataset_of,
    opened_site,
    plan_of,
)
from torch.nn import functional

from fed_common.checkpoint import parameter_bytes
from fed_common.layout import flatten, load_flat
from fed_common.models import build_model
from fed_common.plans import DpTerms, TrainTerms
from fed_server.aggregation import WeightedMean
from fed_server.rounds import Coordinator, run_round

# No gradient is longer than 200. Noise is not drawn, but its grid of 2**-14 in the sum is there: 3e-7 here.
DP = DpTerms(noise_multiplier=0.3, clip_norm=200.0, sampling_rate=1.0, steps=1, max_images_per_patient=2)
TERMS = TrainTerms(dp=DP, learning_rate=0.1, momentum=0.0, update_clip=1e3)
OPEN_POLICY = replace(
    POLICY, epsilon=1000.0, min_noise_multiplier=0.3, max_clip_norm=200.0, max_sampling_rate=1.0
)


def test_three_sites_of_different_sizes_step_as_one_pooled_site(tmp_path: Path) -> None:
    datasets = {site.name: dataset_of(site.patients, seed=site.patients) for site in COHORT}
    with ExitStack() as stack:
        sites = {
            name: stack.enter_context(
                opened_site(
                    tmp_path / name, name=name, policy=OPEN_POLICY, dataset=data, randomness=FakeRandomness()
                )
            )
            for name, data in datasets.items()
        }
        coordinator = Coordinator(
            key=COORDINATOR_KEY,
            site_keys={name: key.verifying_key for name, key in SITE_KEYS.items()},
            exchange=DirectExchange({name: site.answer for name, site in sites.items()}),
            quorum=3,
            deadline_s=60.0,
        )
        outcome = run_round(
            plan_of(TERMS),
            parameter_bytes(FIRST_P),
            WeightedMean(NUM_PARAMETERS),
            coordinator=coordinator,
            on_reply=lambda reply: None,
        )

    model = build_model(MODEL)
    load_flat(model, FIRST_P)
    images_NCHW = torch.cat([data.train.images_NCHW for data in datasets.values()])
    labels_N = torch.cat([data.train.labels_N for data in datasets.values()])
    optimizer = torch.optim.SGD(model.parameters(), lr=TERMS.learning_rate)
    torch.autograd.backward(functional.cross_entropy(model(images_NCHW), labels_N))
    optimizer.step()
    assert outcome.result is not None
    assert np.abs(outcome.result).max() > 1e-3
    np.testing.assert_allclose(FIRST_P + outcome.result, flatten(model), atol=1e-6)
