"""What a virtual site does in a round without privacy: plain SGD, as torch takes it."""

import numpy as np
import torch
from torch.nn import functional

from fed_common.layout import flatten, load_flat
from fed_common.models import build_model, initial_parameters
from fed_common.seeds import stream
from fed_sim.engine.local_training import UnprotectedTerms, UnprotectedTraining
from fed_sim.engine.opening import SPEC
from fed_sim.engine.site_images import DrawnImages

IMAGES = DrawnImages(sites=2, images=7, seed=5)
FIRST_P = initial_parameters(SPEC, seed=1)
TERMS = UnprotectedTerms(steps=5, batch_size=3, learning_rate=0.05, momentum=0.9, views=1, longest_update=1e4)


def _update(*, number: int = 1, site: int = 0, terms: UnprotectedTerms = TERMS) -> np.ndarray:
    return UnprotectedTraining(SPEC, IMAGES, terms, seed=9).update(number, site, FIRST_P)


def test_the_steps_are_those_of_torchs_sgd() -> None:
    model = build_model(SPEC)
    load_flat(model, FIRST_P)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images = IMAGES.of(0)
    rng = stream(9, "batches of site 0 in round 1")
    passes = [torch.from_numpy(rng.permutation(7)) for _ in range(2)]
    batches = [order_N[start : start + 3] for order_N in passes for start in (0, 3, 6)]
    for index_N in batches[:5]:
        optimizer.zero_grad()
        torch.autograd.backward(
            functional.cross_entropy(model(images.batch(index_N)), images.labels_N[index_N])
        )
        optimizer.step()

    np.testing.assert_allclose(_update(), flatten(model) - FIRST_P, atol=2e-6)


def test_seed_round_and_site_decide_alone() -> None:
    update_P = _update()

    assert np.array_equal(_update(), update_P)
    assert not np.array_equal(_update(number=2), update_P)
    assert not np.array_equal(_update(site=1), update_P)


def test_a_diverged_update_is_no_longer_than_the_sum_can_hold() -> None:
    terms = UnprotectedTerms(
        steps=2, batch_size=3, learning_rate=50.0, momentum=0.0, views=1, longest_update=10.0
    )

    assert np.linalg.norm(_update(terms=terms)) <= 10.0 * (1 + 1e-12)
