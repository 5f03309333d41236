"""The network learns from drawings alone what holds for other drawings, and for real pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fed_common.errors import ConfigError
from fed_common.metrics import exact_auc
from fed_common.models.malignancy_score import FILE, malignancy_score
from fed_sim.cli import app
from fed_sim.ultrasound.drawing import TRAITS
from fed_sim.ultrasound.pretraining import Drawings, draw_many, trained

BREAST = Path(__file__).parents[4] / "shared" / "data" / "breastmnist" / "breastmnist.npz"


@pytest.fixture(scope="module")
def known() -> Drawings:
    return draw_many(800, seed=7)


def auc(scores_N: torch.Tensor, positive_N: torch.Tensor) -> float:
    return exact_auc(scores_N.double().numpy(), positive_N.numpy()).value


def test_equal_seeds_make_equal_drawings_and_lesions_have_unit_traits(known: Drawings) -> None:
    fewer = draw_many(30, seed=7)

    assert torch.equal(fewer.pictures_NHW, known.pictures_NHW[:30])
    assert 0.25 < float(known.malignant_N.float().mean()) < 0.45
    lesions_MT = known.traits_NT[known.kinds_N > 0]
    assert lesions_MT.shape[1] == len(TRAITS)
    np.testing.assert_allclose(lesions_MT.mean(dim=0).numpy(), 0, atol=1e-4)
    np.testing.assert_allclose(lesions_MT.std(dim=0).numpy(), 1, atol=1e-4)


def test_the_weights_of_the_package_judge_drawings_they_have_not_seen(known: Drawings) -> None:
    assert auc(malignancy_score(known.pictures_NHW), known.malignant_N) > 0.9


def test_training_tells_of_each_pass_and_its_loss_falls(known: Drawings) -> None:
    losses: list[float] = []
    network = trained(known, passes=3, seed=1, told=lambda number, loss: losses.append(loss))

    assert len(losses) == 3 and losses[2] < 0.9 * losses[0]
    other = draw_many(400, seed=8)
    assert auc(network(other.pictures_NHW), other.malignant_N) > 0.65
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_command_writes_weights_that_can_be_loaded_and_overwrites_nothing(tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    arguments = ["pretrain", "--out", str(out), "--drawings", "200", "--passes", "1"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.output
    assert "500 drawings of another seed" in result.output
    assert load_file(out).keys() == load_file(FILE).keys()
    before = out.read_bytes()
    assert isinstance(CliRunner().invoke(app, arguments).exception, ConfigError)
    assert out.read_bytes() == before


def test_a_folder_that_is_not_there_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["pretrain", "--out", str(tmp_path / "none" / "weights.safetensors")])
    assert isinstance(refused.exception, ConfigError)


@pytest.mark.skipif(not BREAST.is_file(), reason="shared/data/breastmnist is not here")
def test_on_real_ultrasounds_of_the_training_part_the_score_alone_is_far_from_chance() -> None:
    with np.load(BREAST) as arrays:
        greys_NHW = torch.from_numpy(arrays["train_images"]).float() / 255
        malignant_N = torch.from_numpy(arrays["train_labels"][:, 0] == 0)

    assert auc(malignancy_score(greys_NHW), malignant_N) > 0.75
