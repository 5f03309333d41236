"""What a round of private training promises: arithmetic of SGD, one patient's bounded weight, and noise."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import several_labels_of
from torch import nn
from torch.nn import functional

from fed_client.dataset import LabelledImages
from fed_client.model_inputs import ModelInputs
from fed_client.private_step import BookkeepingStep, private_step
from fed_client.training import Picked, TrainingStoppedError, clip_update, physical_batches, train_privately
from fed_common.errors import PrivacyError
from fed_common.greys import USUAL
from fed_common.layout import flatten, load_flat
from fed_common.models import ModelSpec, build_model, initial_parameters
from fed_common.plans import MAX_VIEWS, DpTerms, Normalisation, TrainTerms
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.views import views_of

# Shape letters: N images, C channels, H rows, W columns, S patients, P parameters of the flattened model.

NO_CLIP = 1e3
LEARNING_RATE = 0.01


def seed_cnn(*, classes: int = 2) -> nn.Module:
    spec = ModelSpec(channels=1, classes=classes)
    model = build_model(spec)
    load_flat(model, initial_parameters(spec, seed=0))
    return model


def images_of(patients: list[int]) -> LabelledImages:
    """Return one random image per entry; the entry says whose it is."""
    generator = torch.Generator().manual_seed(len(patients))
    return LabelledImages(
        images_NCHW=torch.randn(len(patients), 1, 32, 32, generator=generator),
        labels_N=torch.randint(0, 2, (len(patients),), generator=generator),
        patients_N=torch.tensor(patients),
        num_patients=max(patients) + 1,
    )


def terms(
    *,
    steps: int = 1,
    clip_norm: float = NO_CLIP,
    rate: float = 1.0,
    momentum: float = 0.0,
    noise: float = 1e-6,
) -> TrainTerms:
    """Return terms whose default noise is so small that its grid doesn't show in the arithmetic."""
    dp = DpTerms(
        noise_multiplier=noise,
        clip_norm=clip_norm,
        sampling_rate=rate,
        steps=steps,
        max_images_per_patient=4,
    )
    return TrainTerms(dp=dp, learning_rate=LEARNING_RATE, momentum=momentum, update_clip=10.0)


def train(
    images: LabelledImages,
    asked: TrainTerms,
    randomness: Randomness,
    *,
    patients_public: int = 10,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float64]:
    return train_privately(
        seed_cnn(), images, asked, patients_public=patients_public, randomness=randomness, stop=stop
    )


def mean_gradient(model: nn.Module, images: LabelledImages, chosen_N: torch.Tensor) -> NDArray[np.float64]:
    """Return the gradient of the chosen images' mean loss by torch's own differentiation."""
    loss = functional.cross_entropy(model(images.images_NCHW[chosen_N]), images.labels_N[chosen_N])
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients]).double().numpy()


def patients_of(images: LabelledImages) -> list[Picked]:
    return [np.flatnonzero(images.patients_N.numpy() == patient) for patient in range(images.num_patients)]


def sum_over(
    images: LabelledImages,
    *,
    clip_norm: float,
    picked: Sequence[Picked] | None = None,
    normalisation: Normalisation = USUAL,
    class_weights: tuple[float, ...] = (),
    views: int = 1,
) -> NDArray[np.float64]:
    inputs = ModelInputs(images=images, normalisation=normalisation, views=views)
    step = private_step(seed_cnn(classes=3 if images.labels_N.dim() == 2 else 2))
    sums = [
        step.clipped_sum(batch, clip_norm=clip_norm, class_weights=class_weights)
        for batch in physical_batches(inputs, picked or patients_of(images))
    ]
    total_P: NDArray[np.float64] = np.sum(sums, axis=0)
    return total_P


def without_last(images: LabelledImages) -> LabelledImages:
    """Return the images without the last patient, who has one image."""
    return LabelledImages(
        images_NCHW=images.images_NCHW[:-1],
        labels_N=images.labels_N[:-1],
        patients_N=images.patients_N[:-1],
        num_patients=images.num_patients - 1,
    )


def test_without_noise_and_clipping_a_step_is_plain_sgd() -> None:
    images = images_of(list(range(10)))

    delta_P = train(images, terms(), FakeRandomness())

    np.testing.assert_allclose(
        delta_P, -LEARNING_RATE * mean_gradient(seed_cnn(), images, torch.arange(10)), atol=1e-6
    )


def test_momentum_equals_torchs_sgd_over_several_steps() -> None:
    images = images_of(list(range(10)))
    model = seed_cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(images.images_NCHW), images.labels_N))
        optimizer.step()

    delta_P = train(images, terms(steps=3, momentum=0.5), FakeRandomness())

    np.testing.assert_allclose(delta_P, flatten(model) - flatten(seed_cnn()), atol=1e-6)


def test_the_divisor_is_public_and_not_the_number_of_patients() -> None:
    images = images_of(list(range(10)))

    by_ten = train(images, terms(), FakeRandomness(), patients_public=10)
    by_forty = train(images, terms(), FakeRandomness(), patients_public=40)

    np.testing.assert_allclose(by_forty, by_ten / 4, atol=1e-6)


def test_each_patients_gradient_is_that_of_a_batch_of_its_own() -> None:
    images = images_of([0, 0, 0, 1, 2, 2])

    total_P = sum_over(images, clip_norm=NO_CLIP)

    alone = [mean_gradient(seed_cnn(), images, torch.from_numpy(indices)) for indices in patients_of(images)]
    np.testing.assert_allclose(total_P, np.sum(alone, axis=0), atol=1e-5)


def test_four_images_of_a_patient_count_as_one() -> None:
    one = images_of([0])
    four = LabelledImages(
        images_NCHW=one.images_NCHW.repeat(4, 1, 1, 1),
        labels_N=one.labels_N.repeat(4),
        patients_N=torch.zeros(4, dtype=torch.int64),
        num_patients=1,
    )

    np.testing.assert_allclose(sum_over(four, clip_norm=0.5), sum_over(one, clip_norm=0.5), atol=1e-6)


def test_a_patients_images_beyond_the_limit_are_not_used() -> None:
    images = images_of([0] * 7)

    delta_P = train(images, terms(), FakeRandomness(), patients_public=1)

    np.testing.assert_allclose(
        delta_P, -LEARNING_RATE * mean_gradient(seed_cnn(), images, torch.arange(4)), atol=1e-6
    )


@pytest.mark.parametrize("brightness", [0.0, 1.0, 1e4, 1e38])
def test_one_patient_more_moves_the_sum_by_the_clip_norm_at_most(brightness: float) -> None:
    images = images_of([0, 0, 1, 2, 3])
    images.images_NCHW[-1] *= brightness

    difference_P = sum_over(images, clip_norm=0.3) - sum_over(without_last(images), clip_norm=0.3)

    assert np.linalg.norm(difference_P) <= 0.3 * (1 + 1e-6)


@pytest.mark.parametrize("brightness", [0.0, 1.0, 1e4, 1e38])
@pytest.mark.parametrize("weights", [(), (100.0, 0.01, 100.0)])
def test_one_patient_with_several_labels_moves_the_sum_by_the_clip_norm_at_most(
    brightness: float, weights: tuple[float, ...]
) -> None:
    images = several_labels_of(5)
    images.images_NCHW[-1] *= brightness
    narrow = Normalisation(mean=0.9, spread=0.02)

    with_last_P, without_P = (
        sum_over(some, clip_norm=0.3, normalisation=narrow, class_weights=weights)
        for some in (images, without_last(images))
    )
    difference_P = with_last_P - without_P

    assert np.linalg.norm(difference_P) <= 0.3 * (1 + 1e-6)


def test_clipping_shortens_a_long_gradient_to_the_clip_norm() -> None:
    assert np.linalg.norm(sum_over(images_of([0]), clip_norm=0.01)) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("pixel", [float("nan"), float("inf")])
def test_a_patient_with_a_broken_pixel_adds_nothing_and_spoils_nothing(pixel: float) -> None:
    images = images_of([0, 0, 1, 2, 3])
    images.images_NCHW[-1, 0, 5, 5] = pixel
    healthy = without_last(images)

    np.testing.assert_allclose(sum_over(images, clip_norm=0.3), sum_over(healthy, clip_norm=0.3), atol=1e-6)


def test_the_order_of_patients_and_the_size_of_physical_batches_do_not_matter() -> None:
    images = images_of(list(range(150)))  # more than one physical batch
    alone = [sum_over(images, clip_norm=0.5, picked=[np.array([index])]) for index in reversed(range(150))]

    np.testing.assert_allclose(sum_over(images, clip_norm=0.5), np.sum(alone, axis=0), atol=1e-4)


@pytest.mark.parametrize("views", [2, MAX_VIEWS])
def test_all_views_of_a_patients_images_count_as_one_patient(views: int) -> None:
    images = images_of([0, 0, 1])
    step = private_step(seed_cnn())

    def total(inputs: ModelInputs, patients: list[Picked]) -> NDArray[np.float64]:
        batches = physical_batches(inputs, patients)
        sum_P: NDArray[np.float64] = np.sum([step.clipped_sum(b, clip_norm=NO_CLIP) for b in batches], 0)
        return sum_P

    by_view = [
        replace(images, images_NCHW=views_of(images.images_NCHW, views)[:, view]) for view in range(views)
    ]
    mean_P = np.mean([total(ModelInputs(images=one), patients_of(images)) for one in by_view], axis=0)

    together_P = total(ModelInputs(images=images, views=views), patients_of(images))
    np.testing.assert_allclose(together_P, mean_P, atol=1e-4)
    clipped_P = sum_over(images, clip_norm=0.01, views=views)
    assert np.linalg.norm(clipped_P) <= 2 * 0.01 * (1 + 1e-6)


def test_a_head_trained_on_kept_features_is_the_head_trained_with_the_whole_network() -> None:
    images = images_of([0, 1, 1, 2])
    model = build_model(ModelSpec(architecture="scattering", channels=1, classes=2))
    asked = terms(steps=2)

    def trained(network: nn.Module) -> NDArray[np.float64]:
        return train_privately(
            network,
            images,
            asked,
            patients_public=10,
            randomness=FakeRandomness(),
            stop=lambda: False,
            make_step=BookkeepingStep,  # stays on the processor, for which the features are made
        )

    def whole(network: nn.Module) -> nn.Module:
        """Return the network in a form that isn't known to be frozen anywhere."""
        return nn.Sequential(*copy.deepcopy(network).children())

    # Kept features have half precision.
    np.testing.assert_allclose(trained(model), trained(whole(model)), atol=2e-6)


def test_physical_batches_of_large_images_are_smaller() -> None:
    images = LabelledImages(
        images_NCHW=torch.zeros(1, 1, 256, 256).expand(20, -1, -1, -1),
        labels_N=torch.zeros(20, dtype=torch.int64),
        patients_N=torch.arange(20),
        num_patients=20,
    )

    batches = list(physical_batches(ModelInputs(images=images), patients_of(images)))

    assert [batch.num_patients for batch in batches] == [8, 8, 4]


def test_an_empty_step_is_noised_and_counted() -> None:
    randomness = FakeRandomness(everybody=False, noise_in_std=1.0)

    delta_P = train(images_of([0, 1]), terms(steps=3, clip_norm=2.0, rate=0.5, noise=1.5), randomness)

    assert randomness.noise_calls == 3
    # 3 steps x learning rate x noise 1.5 x 2.0 / divisor (0.5 x 10).
    np.testing.assert_allclose(delta_P, np.full(delta_P.size, -3 * LEARNING_RATE * 3.0 / 5), rtol=1e-5)


def test_noise_has_the_promised_size() -> None:
    images = images_of(list(range(4)))

    asked = terms(clip_norm=2.0, noise=1.5)
    noise_P = (
        train(images, asked, SystemRandomness()) - train(images, asked, FakeRandomness())
    ) / LEARNING_RATE

    # Relative standard error over 23,426 parameters is 0.5 %; noise 1.5 x 2.0 over the divisor 1.0 x 10.
    assert noise_P.std() == pytest.approx(0.3, rel=0.03)
    assert abs(noise_P.mean()) < 6 * 0.3 / noise_P.size**0.5


@dataclass
class RememberingStd(FakeRandomness):
    """Remembers the noise that was asked for."""

    stds: list[float] = field(default_factory=list)

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        self.stds.append(std)
        super().add_noise(exact_N, std=std)


def test_one_patient_more_changes_neither_noise_nor_divisor_nor_steps() -> None:
    asked = terms(steps=3, clip_norm=2.0, rate=0.5, noise=1.5)
    fewer, more = RememberingStd(everybody=False), RememberingStd(everybody=False)

    # With nobody drawn and every draw 1 standard deviation, what is left is noise over the divisor.
    fewer.noise_in_std = more.noise_in_std = 1.0
    delta_P = train(images_of(list(range(511))), asked, fewer)
    with_one_more_P = train(images_of(list(range(512))), asked, more)

    assert fewer.stds == more.stds == [3.0] * 3
    assert np.array_equal(delta_P, with_one_more_P)


def test_two_sites_noises_are_unrelated_though_all_other_generators_are_seeded_alike() -> None:
    images, asked = images_of(list(range(4))), terms(clip_norm=2.0, noise=1.5)
    exact_P = train(images, asked, FakeRandomness())
    noises = []
    for _ in range(2):
        torch.manual_seed(42)
        np.random.seed(42)
        noises.append(train(images, asked, SystemRandomness()) - exact_P)

    # Five standard errors of a correlation of 0 over so many coordinates.
    assert abs(np.corrcoef(noises[0], noises[1])[0, 1]) < 5 / noises[0].size ** 0.5


def test_a_patient_of_nothing_but_nan_leaves_a_finite_model() -> None:
    images = images_of([0, 1, 2])
    images.images_NCHW[1].fill_(float("nan"))

    delta_P = train(images, terms(steps=3, clip_norm=0.3), FakeRandomness())

    assert np.isfinite(delta_P).all()
    assert delta_P.any()


def test_a_round_leaves_the_model_as_it_was() -> None:
    model = seed_cnn()
    attributes = set(vars(model))

    train_privately(
        model, images_of([0]), terms(), patients_public=1, randomness=FakeRandomness(), stop=lambda: False
    )

    assert np.array_equal(flatten(model), flatten(seed_cnn()))
    assert set(vars(model)) == attributes


def test_a_stop_ends_training_before_the_next_step() -> None:
    asked = count()
    randomness = FakeRandomness()

    with pytest.raises(TrainingStoppedError):
        train(images_of([0, 1]), terms(steps=5), randomness, stop=lambda: next(asked) == 2)

    assert randomness.noise_calls == 2


def test_a_layer_that_mixes_patients_is_refused() -> None:
    with pytest.raises(PrivacyError):
        private_step(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))


def test_a_long_update_is_shortened_and_a_short_one_kept() -> None:
    delta_P = np.array([3.0, 4.0])

    np.testing.assert_allclose(clip_update(delta_P, 1.0), [0.6, 0.8])
    assert np.array_equal(clip_update(delta_P, 5.0), delta_P)


def test_a_faster_order_of_the_weights_in_memory_changes_no_gradient() -> None:
    """Opacus takes every layer's input for contiguous and would be silently wrong."""
    images, fast = images_of([0, 1, 2, 3]), seed_cnn().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    deltas = [
        train_privately(
            model, images, terms(), patients_public=4, randomness=FakeRandomness(), stop=lambda: False
        )
        for model in (seed_cnn(), fast)
    ]
    np.testing.assert_allclose(deltas[0], deltas[1], atol=1e-7)
