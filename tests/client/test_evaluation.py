"""What a site tells about its own patients' scores is a histogram with noise in every bin, by patient."""

import numpy as np
import torch
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import EVALUATE, FIRST_P, MODEL, images_of

from fed_client.dataset import LabelledImages
from fed_client.evaluation import release_counts
from fed_common.layout import load_flat
from fed_common.models import build_model
from fed_common.randomness import Randomness, SystemRandomness

NETWORK = build_model(MODEL)
load_flat(NETWORK, FIRST_P)


def counts_of(images: LabelledImages, randomness: Randomness) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return release_counts(NETWORK, images, EVALUATE, positive=1, randomness=randomness).to_vector()


def test_each_patient_is_counted_once_under_its_own_truth() -> None:
    counts = release_counts(NETWORK, images_of(10), EVALUATE, positive=1, randomness=FakeRandomness())
    assert (counts.negatives_B.sum(), counts.positives_B.sum()) == (5, 5)
    assert counts.noise_std == 4.0


def test_a_patient_with_many_images_moves_one_bin_by_one() -> None:
    once = images_of(4)
    often = LabelledImages(
        images_NCHW=torch.cat([once.images_NCHW, once.images_NCHW[3:].repeat(9, 1, 1, 1)]),
        labels_N=torch.cat([once.labels_N, once.labels_N[3:].repeat(9)]),
        patients_N=torch.cat([once.patients_N, torch.full((9,), 3)]),
        num_patients=4,
    )
    assert np.array_equal(counts_of(often, FakeRandomness()), counts_of(once, FakeRandomness()))


def test_one_patient_more_changes_one_count_by_one() -> None:
    more, fewer = (counts_of(images_of(8, seed=5), FakeRandomness()), counts_of(first_7(), FakeRandomness()))
    assert sorted(np.abs(more - fewer))[-2:] == [0.0, 1.0]


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
    assert counts.to_vector()[[0, 10]].tolist() == [5.0, 5.0]
