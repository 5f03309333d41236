"""What a site tells about its own patients' scores is a histogram with noise in every bin, by patient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import EVALUATE, FIRST_P, MODEL, images_of, several_labels_of

from fed_client.dataset import LabelledImages
from fed_client.evaluation import release_counts
from fed_common.greys import model_input
from fed_common.layout import load_flat
from fed_common.models import ModelSpec, build_model, initial_parameters
from fed_common.plans import Normalisation
from fed_common.randomness import Randomness, SystemRandomness

NETWORK = build_model(MODEL)
load_flat(NETWORK, FIRST_P)


def counts_of(images: LabelledImages, randomness: Randomness) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return release_counts(NETWORK, images, EVALUATE, positive=1, randomness=randomness).to_vector()


def test_each_patient_is_counted_once_under_its_own_truth() -> None:
    counts = release_counts(NETWORK, images_of(10), EVALUATE, positive=1, randomness=FakeRandomness())
    assert (counts.negatives_B.sum(), counts.positives_B.sum()) == pytest.approx((5, 5))
    assert counts.noise_std == 4.0


def test_a_patient_with_many_images_counts_once() -> None:
    once = images_of(4)
    often = LabelledImages(
        images_NCHW=torch.cat([once.images_NCHW, once.images_NCHW[3:].repeat(9, 1, 1, 1)]),
        labels_N=torch.cat([once.labels_N, once.labels_N[3:].repeat(9)]),
        patients_N=torch.cat([once.patients_N, torch.full((9,), 3)]),
        num_patients=4,
    )
    assert counts_of(often, FakeRandomness()) == pytest.approx(counts_of(once, FakeRandomness()))


def test_one_patient_more_moves_what_is_released_by_one_at_most() -> None:
    more, fewer = (counts_of(images_of(8, seed=5), FakeRandomness()), counts_of(first_7(), FakeRandomness()))
    # As far as the root's shortest column, that of the last bin, which has one entry.
    assert 0.5 < np.linalg.norm(more - fewer) <= 1 + 1e-9


def first_7() -> LabelledImages:
    images = images_of(8, seed=5)
    return LabelledImages(
        images_NCHW=images.images_NCHW[:7],
        labels_N=images.labels_N[:7],
        patients_N=images.patients_N[:7],
        num_patients=7,
    )


def test_every_bin_carries_its_own_noise_also_the_empty_ones() -> None:
    images = images_of(10)
    exact = counts_of(images, FakeRandomness())
    noise = np.concatenate([counts_of(images, SystemRandomness()) - exact for _ in range(100)])
    # 2,000 draws of standard deviation 4: the relative standard error is 1.6 %.
    assert abs(noise.std() / 4.0 - 1) < 0.1
    assert len(np.unique(noise)) > 1900


def test_a_broken_model_gives_counts_and_no_number_of_its_own() -> None:
    broken = build_model(MODEL)
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(torch.nan)
    counts = release_counts(broken, images_of(10), EVALUATE, positive=1, randomness=FakeRandomness())
    assert (counts.negatives_B[0], counts.positives_B[0]) == pytest.approx((5.0, 5.0))


def test_with_several_labels_only_the_positive_class_counts() -> None:
    spec = ModelSpec(channels=1, classes=3)
    network = build_model(spec)
    load_flat(network, initial_parameters(spec, seed=0))
    images = several_labels_of(12)
    counts = release_counts(network, images, EVALUATE, positive=1, randomness=FakeRandomness())
    logits_NK = network(images.images_NCHW).detach()
    assert counts.positives_B.sum() == pytest.approx(float(images.labels_N[:, 1].sum()))
    bins_N = (torch.sigmoid(logits_NK[:, 1]) * EVALUATE.bins).long()
    both = counts.negatives_B + counts.positives_B
    assert both == pytest.approx(np.bincount(bins_N.numpy(), minlength=EVALUATE.bins), abs=1e-4)


def test_the_model_sees_images_by_the_plans_normalisation() -> None:
    bright = replace(EVALUATE, normalisation=Normalisation(mean=0.9, spread=0.1))
    images = images_of(40)
    seen = replace(images, images_NCHW=model_input(images.images_NCHW, bright.normalisation))
    counts = release_counts(NETWORK, images, bright, positive=1, randomness=FakeRandomness())
    assert counts.to_vector() == pytest.approx(counts_of(seen, FakeRandomness()))
    assert counts.to_vector() != pytest.approx(counts_of(images, FakeRandomness()))
