"""What a site tells of its patients before training: a noised sum that no patient moves by more than 1."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import STATISTICS, images_of

from fed_client.dataset import LabelledImages
from fed_client.statistics import patient_sum, release_statistics
from fed_common.plans import StatisticsTerms
from fed_common.randomness import SystemRandomness
from fed_common.statistics import PatientCounts

SIDE = 4


def several(classes: int, *, bins: int = 16) -> StatisticsTerms:
    return StatisticsTerms(noise_multiplier=4.0, classes=classes, several_labels=True, bins=bins)


def counted(images: LabelledImages, terms: StatisticsTerms = STATISTICS) -> PatientCounts:
    return PatientCounts.from_vector(patient_sum(images, terms, positive=1), terms)


def stored(greys: list[list[int]], labels: torch.Tensor, patients: list[int]) -> LabelledImages:
    """Return one image of stored greys, repeated over its pixels, for each entry."""
    pixels = torch.tensor(greys, dtype=torch.int16)
    return LabelledImages(
        images_NCHW=pixels.repeat(1, SIDE * SIDE // pixels.shape[1]).reshape(-1, 1, SIDE, SIDE),
        labels_N=labels,
        patients_N=torch.tensor(patients),
        num_patients=max(patients, default=-1) + 1,
    )


@st.composite
def hospitals(draw: st.DrawFn) -> tuple[LabelledImages, StatisticsTerms]:
    """Draw any patients with any images, black, white and random ones among them."""
    classes, several_labels = draw(st.integers(2, 7)), draw(st.booleans())
    num_images = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    patients = [patient for patient, count in enumerate(num_images) for _ in range(count)]
    grey = st.sampled_from([-32768, 32767, 0]) | st.integers(-32768, 32767)
    greys = draw(
        st.lists(st.lists(grey, min_size=4, max_size=4), min_size=len(patients), max_size=len(patients))
    )
    flag = st.integers(0, 1) if several_labels else st.integers(0, classes - 1)
    size = (len(patients), classes) if several_labels else (len(patients),)
    flat = draw(st.lists(flag, min_size=int(np.prod(size)), max_size=int(np.prod(size))))
    labels = torch.tensor(flat).reshape(size)
    images = stored(greys, labels.float() if several_labels else labels, patients)
    terms = StatisticsTerms(
        noise_multiplier=4.0, classes=classes, several_labels=several_labels, bins=draw(st.integers(2, 64))
    )
    return images, terms


def without(images: LabelledImages, patient: int) -> LabelledImages:
    stays_N = images.patients_N != patient
    patients_N = images.patients_N[stays_N]
    return LabelledImages(
        images_NCHW=images.images_NCHW[stays_N],
        labels_N=images.labels_N[stays_N],
        patients_N=patients_N - (patients_N > patient).long(),
        num_patients=images.num_patients - 1,
    )


@settings(max_examples=300, deadline=None)
@given(hospitals(), st.integers(0, 4))
def test_no_patient_moves_the_sum_by_more_than_1(
    hospital: tuple[LabelledImages, StatisticsTerms], chosen: int
) -> None:
    images, terms = hospital
    fewer = without(images, chosen % images.num_patients)
    difference = patient_sum(images, terms, positive=1) - patient_sum(fewer, terms, positive=1)
    assert np.linalg.norm(difference) <= 1 + 1e-9


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_a_broken_pixel_moves_the_sum_by_no_more_either(pixel: float) -> None:
    images = images_of(5)
    images.images_NCHW[-1, 0, :16] = pixel
    difference = patient_sum(images, STATISTICS, positive=1) - patient_sum(
        without(images, 4), STATISTICS, positive=1
    )
    assert 0 < np.linalg.norm(difference) <= 1 + 1e-9


def test_the_bound_is_reached_by_a_patient_of_one_grey() -> None:
    alone = patient_sum(stored([[-32768]], torch.tensor([1]), [0]), STATISTICS, positive=1)
    assert np.linalg.norm(alone) == pytest.approx(1)


def test_a_patient_with_many_images_counts_as_one_with_their_mean_histogram() -> None:
    images = stored([[-32768], [-32768], [-32768], [32767]], torch.tensor([0, 0, 0, 0]), [0, 0, 0, 0])
    counts = counted(images)
    assert counts.classes_K.tolist() == pytest.approx([1, 0])
    assert counts.greys_B[[0, 15]].tolist() == pytest.approx([0.75, 0.25])


def test_a_patient_counts_for_the_positive_class_or_the_most_frequent() -> None:
    terms = replace(STATISTICS, classes=3)
    labels = torch.tensor([0, 0, 1, 2, 2, 0])  # of patients 0 and 1, three images each
    images = stored([[0]] * 6, labels, [0, 0, 0, 1, 1, 1])
    assert counted(images, terms).classes_K.tolist() == pytest.approx([0, 1, 1])


def test_with_several_labels_a_patient_counts_for_each_that_any_image_shows() -> None:
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    counts = counted(stored([[0]] * 3, labels, [0, 0, 1]), several(3))
    assert counts.classes_K.tolist() == pytest.approx([1, 1, 0])
    assert counts.greys_B.sum() == pytest.approx(2)


def test_who_shows_more_classes_than_four_adds_as_much_as_one_who_shows_four() -> None:
    terms = several(9)
    four, nine = (
        patient_sum(
            stored([[0]], torch.tensor([[1.0] * shown + [0.0] * (9 - shown)]), [0]), terms, positive=1
        )
        for shown in (4, 9)
    )
    assert np.linalg.norm(four) == pytest.approx(np.linalg.norm(nine)) == pytest.approx(1)


def test_stored_greys_and_floats_are_counted_alike() -> None:
    greys = [[-32768, -16384, 0, 32767], [5, -20000, 20000, 31000]]
    images = stored(greys, torch.tensor([0, 1]), [0, 1])
    shares_NCHW = (images.images_NCHW.double() + 32768) / 65535
    floats = replace(images, images_NCHW=((shares_NCHW - 0.5) / 0.25).float())
    assert patient_sum(floats, STATISTICS, positive=1) == pytest.approx(
        patient_sum(images, STATISTICS, positive=1)
    )


def test_every_entry_carries_its_own_noise_also_the_empty_ones() -> None:
    images = images_of(10)
    exact = release_statistics(images, STATISTICS, positive=1, randomness=FakeRandomness())
    noise = np.concatenate(
        [
            release_statistics(images, STATISTICS, positive=1, randomness=SystemRandomness()) - exact
            for _ in range(120)
        ]
    )
    # 2,160 draws of standard deviation 4: the relative standard error is 1.5 %.
    assert abs(noise.std() / 4.0 - 1) < 0.1
    assert abs(noise.mean()) < 5 * 4.0 / noise.size**0.5
    assert len(np.unique(noise)) > 2000


def test_many_images_are_counted_in_pieces() -> None:
    images = stored([[-32768], [32767]] * 1500, torch.tensor([0, 1] * 1500), list(range(3000)))
    counts = counted(images)
    assert counts.classes_K.tolist() == pytest.approx([1500, 1500])
    assert counts.greys_B[[0, 15]].tolist() == pytest.approx([1500, 1500])
