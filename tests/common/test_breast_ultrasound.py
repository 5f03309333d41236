"""The score is of the picture alone, its weights are named, and the head learns what to make of it."""

import numpy as np
import pytest
import torch

from fed_common.greys import USUAL
from fed_common.models import ModelSpec, build_model, frozen_features
from fed_common.models.breast_ultrasound import SCORE_LENGTH, SCORE_SCALE, BreastUltrasoundFeatures
from fed_common.models.malignancy_score import (
    FILE,
    SIDE,
    load_weights,
    malignancy_score,
    weights_digest,
    weights_of,
)
from fed_common.models.scattering_features import RIDGE_FOR_FEW, ScatteringFeatures
from fed_common.names import digest_of

SPEC = ModelSpec(architecture="breast-ultrasound", channels=1, classes=2)


def greys(count: int, side: int = SIDE) -> torch.Tensor:
    coarse = torch.rand(count, side // 8, side // 8, generator=torch.Generator().manual_seed(1))
    return coarse.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)


def with_dark_mass(picture_HW: torch.Tensor) -> torch.Tensor:
    """Return the picture with an ill-defined dark mass in its middle that throws a shadow."""
    rows_HW, columns_HW = torch.meshgrid(*(torch.linspace(-1, 1, SIDE),) * 2, indexing="ij")
    mass_HW = torch.sigmoid(6 * (0.45 - torch.hypot(rows_HW + 0.1, columns_HW)))
    shadow_HW = torch.sigmoid(8 * rows_HW) * torch.sigmoid(8 * (0.4 - columns_HW.abs()))
    return picture_HW * (1 - 0.8 * torch.maximum(mass_HW, shadow_HW))


def test_a_dark_mass_with_a_shadow_looks_more_malignant_than_the_same_tissue_without() -> None:
    tissue_NHW = greys(20) * 0.3 + 0.5
    masses_NHW = torch.stack([with_dark_mass(picture_HW) for picture_HW in tissue_NHW])

    higher_N = malignancy_score(masses_NHW) > malignancy_score(tissue_NHW)

    assert int(higher_N.sum()) >= 18


@pytest.mark.parametrize("side", [32, 64, 256])
def test_neither_mirroring_nor_contrast_nor_size_nor_another_picture_changes_a_score(side: int) -> None:
    pictures_NHW = greys(5)
    expected_N = malignancy_score(pictures_NHW).numpy()
    larger_NHW = pictures_NHW.repeat_interleave(side // SIDE, 1).repeat_interleave(side // SIDE, 2)
    larger_NHW[1:] = larger_NHW[1:].roll(1, dims=0)

    same_N = malignancy_score(larger_NHW.flip(-1) * 0.5 + 0.2).numpy()

    np.testing.assert_allclose(same_N[0], expected_N[0], atol=0.05)
    np.testing.assert_allclose(same_N[1:], np.roll(expected_N[1:], 1), atol=0.05)
    assert expected_N.std() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_features_have_length_1_and_are_those_of_the_scattering_network_beside_the_score(
    channels: int,
) -> None:
    pictures_NHW = greys(6)
    images_NCHW = ((pictures_NHW - USUAL.mean) / USUAL.spread)[:, None].repeat(1, channels, 1, 1)

    features_ND = BreastUltrasoundFeatures()(images_NCHW)
    scattering_ND = ScatteringFeatures(RIDGE_FOR_FEW)(images_NCHW)

    np.testing.assert_allclose(features_ND.norm(dim=1).numpy(), 1, atol=1e-5)
    ratio_N = features_ND[:, :-2].norm(dim=1) / scattering_ND[:, :-1].norm(dim=1)
    np.testing.assert_allclose(
        features_ND[:, :-2].numpy(), (scattering_ND[:, :-1] * ratio_N[:, None]).numpy(), atol=1e-5
    )
    np.testing.assert_allclose(
        features_ND[:, -1].numpy(),
        SCORE_LENGTH * np.tanh(malignancy_score(pictures_NHW).numpy() / SCORE_SCALE),
        atol=1e-4,
    )


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_a_picture_without_anything_on_it_has_finite_features(grey: float) -> None:
    features_ND = BreastUltrasoundFeatures()(torch.full((1, 1, 32, 32), (grey - 0.5) / 0.25))

    assert bool(features_ND.isfinite().all())


def test_the_fingerprint_names_the_weights_and_nothing_but_the_head_travels() -> None:
    model = build_model(SPEC)

    assert [name for name, _ in model.named_parameters()] == ["head.weight"]
    assert not list(model.buffers())
    assert weights_digest() == digest_of(FILE.read_bytes())
    assert weights_digest() in repr(model.features)
    assert SPEC.fingerprint == "breast-ultrasound-1x32x32-2@a3a0c88b48e5"


def test_features_in_half_precision_keep_the_score() -> None:
    images_NCHW = ((greys(6) - USUAL.mean) / USUAL.spread)[:, None]
    kept_NVD = frozen_features(build_model(SPEC), images_NCHW, USUAL)

    assert kept_NVD is not None
    np.testing.assert_allclose(
        kept_NVD[:, 0, -1].float().numpy(), BreastUltrasoundFeatures()(images_NCHW)[:, -1].numpy(), atol=1e-3
    )


def test_weights_that_were_saved_judge_as_before() -> None:
    network = load_weights(FILE.read_bytes())
    network.kind.weight.mul_(2)

    expected_N = network(greys(5)).numpy()
    np.testing.assert_allclose(load_weights(weights_of(network))(greys(5)).numpy(), expected_N, atol=0.01)
    assert np.abs(expected_N - load_weights(FILE.read_bytes())(greys(5)).numpy()).max() > 0.1
