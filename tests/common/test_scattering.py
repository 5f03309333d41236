"""The transform is its formula, hardly notices shifts, amplifies no change; its features are of length 1."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fed_common.greys import USUAL
from fed_common.models import ModelSpec, build_model, frozen_features
from fed_common.models.scattering import ANGLES, NUM_COEFFICIENTS, SCALES, STRIDE, scatter
from fed_common.models.scattering_features import ScatteringFeatures
from fed_common.models.wavelets import filter_bank
from fed_common.task import ModelName

# Shape letters: B pictures of H x W pixels, M x M samples, A angles, N images, V views, D features.

NAMES: tuple[ModelName, ModelName] = ("scattering", "scattering-for-few")


def smooth_pictures(count: int) -> torch.Tensor:
    white_BHW = torch.randn(count, 64, 64, generator=torch.Generator().manual_seed(0))
    low_pass_MM = filter_bank(64, scales=1, angles=ANGLES).low_pass_MM
    smooth_BHW: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(white_BHW) * low_pass_MM).real[:, :32, :32]
    return smooth_BHW


def by_formula(picture_HW: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return all maps by full convolutions in float64, sampled at the end; order 2 behind order 1."""
    mirrored_MM = np.pad(picture_HW, STRIDE, mode="reflect")
    bank = filter_bank(len(mirrored_MM), scales=SCALES, angles=ANGLES)

    def convolved(maps_MM: NDArray[np.float64], spectrum_MM: torch.Tensor) -> NDArray[np.complex128]:
        return np.fft.ifft2(np.fft.fft2(maps_MM) * spectrum_MM.double().numpy())

    def sampled(maps_MM: NDArray[np.float64]) -> NDArray[np.float64]:
        return convolved(maps_MM, bank.low_pass_MM).real[STRIDE:-STRIDE:STRIDE, STRIDE:-STRIDE:STRIDE]

    first, second = [sampled(mirrored_MM)], []
    for scale in range(SCALES):
        envelopes = [np.abs(convolved(mirrored_MM, wavelet)) for wavelet in bank.wavelets_AMM[scale]]
        first += [sampled(envelope) for envelope in envelopes]
        for coarser in range(scale + 1, SCALES):
            second += [
                sampled(np.abs(convolved(envelope, wavelet)))
                for envelope in envelopes
                for wavelet in bank.wavelets_AMM[coarser]
            ]
    return first + second


def test_coefficients_are_convolutions_moduli_and_means_as_the_formula_says() -> None:
    picture_HW = smooth_pictures(1)[0]
    expected = np.array(by_formula(picture_HW.double().numpy()))

    found = scatter(picture_HW[None])[0].numpy()

    assert found.shape == expected.shape == (NUM_COEFFICIENTS, 4, 4)
    # A wavelet of scale 1 or 2 lets a little through of what every second or fourth sample can't show.
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected[1:]).max())
    np.testing.assert_allclose(found[: 1 + ANGLES], expected[: 1 + ANGLES], atol=1e-5)


def test_wavelets_see_nothing_in_a_flat_picture_and_the_mean_keeps_it() -> None:
    coefficients = scatter(torch.full((1, 32, 32), 0.7))[0]

    np.testing.assert_allclose(coefficients[0].numpy(), 0.7, atol=1e-5)
    np.testing.assert_allclose(coefficients[1:].numpy(), 0, atol=1e-5)


@pytest.mark.parametrize("side", [48, 80])
def test_no_frequency_is_amplified_by_more_than_2_percent(side: int) -> None:
    """Littlewood and Paley's sum bounds each layer, and so how far two pictures' coefficients are apart."""
    bank = filter_bank(side, scales=SCALES, angles=ANGLES)
    total_MM = bank.low_pass_MM**2
    for wavelets_AMM in bank.wavelets_AMM:
        powers_MM = (wavelets_AMM**2).sum(dim=0)
        mirrored_MM = powers_MM.flip(0, 1).roll((1, 1), (0, 1))  # of the frequency with the other sign
        total_MM = total_MM + (powers_MM + mirrored_MM) / 2

    assert float(total_MM.max()) <= 1.02
    assert float(total_MM[0, 0]) == pytest.approx(1, abs=1e-5)


def test_a_shift_by_a_pixel_changes_coefficients_far_less_than_pixels() -> None:
    pictures_BHW = smooth_pictures(20)
    moved_BHW = pictures_BHW.roll(1, dims=2)
    moved_BHW[:, :, 0] = moved_BHW[:, :, 1]

    def change(before: torch.Tensor, after: torch.Tensor) -> float:
        return float((after - before).norm() / before.norm())

    moved = change(scatter(pictures_BHW)[:, 1:], scatter(moved_BHW)[:, 1:])
    assert moved < change(pictures_BHW, moved_BHW) / 3


def test_features_have_length_1_and_depend_on_their_own_image_only() -> None:
    images_NCHW = torch.randn(20, 3, 32, 32)
    together_ND = ScatteringFeatures()(images_NCHW)
    others_NCHW = images_NCHW.clone()
    others_NCHW[1:] = float("nan")

    np.testing.assert_allclose(together_ND.norm(dim=1).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(
        ScatteringFeatures()(others_NCHW)[0].numpy(), together_ND[0].numpy(), atol=1e-5
    )


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_a_picture_without_anything_on_it_has_finite_features(grey: float) -> None:
    features_ND = ScatteringFeatures()(torch.full((1, 1, 32, 32), (grey - 0.5) / 0.25))

    assert bool(features_ND.isfinite().all())


def test_nothing_but_the_head_travels_and_the_fingerprint_names_the_constants() -> None:
    spec = ModelSpec(architecture="scattering", channels=1, classes=2)

    assert [name for name, _ in build_model(spec).named_parameters()] == ["head.weight"]
    # What hospitals have allowed stays allowed; another constant is another network.
    assert spec.fingerprint == "scattering-1x32x32-2@2494d9202973"


def test_features_for_few_patients_keep_wide_directions_wide_and_are_another_network() -> None:
    white_BHW = torch.randn(60, 32, 32, generator=torch.Generator().manual_seed(0))
    coarse_BHW = white_BHW.cumsum(dim=1).cumsum(dim=2)  # large shapes are strongest, as in medical images
    black_B11, white_B11 = coarse_BHW.amin((1, 2), keepdim=True), coarse_BHW.amax((1, 2), keepdim=True)
    greys_BHW = (coarse_BHW - black_B11) / (white_B11 - black_B11)
    images_NCHW = ((greys_BHW - USUAL.mean) / USUAL.spread)[:, None]
    usual, for_few = (ModelSpec(architecture=name, channels=1, classes=2) for name in NAMES)

    def widest(spec: ModelSpec) -> float:
        """Return the widest direction's share of all variance."""
        features_NVD = frozen_features(build_model(spec), images_NCHW, USUAL)
        assert features_NVD is not None
        features_ND = features_NVD[:, 0].float()
        widths = torch.linalg.svdvals(features_ND - features_ND.mean(dim=0))
        return float(widths[0] ** 2 / (widths**2).sum())

    assert widest(for_few) > 1.5 * widest(usual)
    assert for_few.fingerprint == "scattering-for-few-1x32x32-2@8c49df342284"
