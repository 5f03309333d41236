"""What a GPU draws is normal, is what the processor's loop makes of the same words, and never comes twice."""

import numpy as np
import pytest
import torch
from scipy import stats

from fed_common import device_noise, normal_kernel
from fed_common.device_noise import gaussian_on, mixed_normals

DEVICES = {torch.device("cpu"), torch.accelerator.current_accelerator(check_available=True)} - {None}


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_same_words_give_what_the_compiled_loop_gives(device: torch.device) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, size=10_000, dtype=np.uint64)
    words[::2500], words[1::2500] = 0, 2**64 - 1
    expected_N = np.zeros(10_000)
    normal_kernel.add_normals(words, expected_N, std=1.0, spacing=2.0**-45)

    radii, angles = (torch.from_numpy(some.view(np.int64)).to(device) for some in np.split(words, 2))
    draws_N = mixed_normals(radii, angles)

    np.testing.assert_allclose(draws_N.cpu().numpy(), expected_N, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_draws_are_normal_over_several_blocks(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_noise, "_BLOCK", 1 << 12)

    drawn_N = gaussian_on(device, 50_001, std=3.0).cpu().numpy()

    assert drawn_N.shape == (50_001,)
    assert len(np.unique(drawn_N)) == 50_001, "no block of the keystream is used twice"
    assert stats.kstest(drawn_N / 3.0, "norm").pvalue > 1e-6


def test_no_draw_is_repeated() -> None:
    cpu = torch.device("cpu")
    assert not set(gaussian_on(cpu, 1000, std=1.0).tolist()) & set(gaussian_on(cpu, 1000, std=1.0).tolist())
