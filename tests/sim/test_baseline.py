"""The unprotected reference learns what can be learnt, repeats itself, and draws its curves."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from fed_client.dataset import LabelledImages
from fed_common.errors import ConfigError
from fed_common.metrics import Estimate
from fed_common.models import ModelSpec
from fed_common.scoring import TestFigures
from fed_common.test_set import TestSet
from fed_sim.baseline import BaselineCurves, BaselineTerms, Scores, draw_curves, train_baseline

GREY = ModelSpec(channels=1, classes=2)


def bright_or_dark(count: int, *, seed: int) -> LabelledImages:
    """Return noisy images; those with a brighter left half have label 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.normal(size=(count, 1, 32, 32))
    images[:, :, :, :16] += labels[:, None, None, None]
    return LabelledImages(
        images_NCHW=torch.from_numpy(images.astype(np.float32)),
        labels_N=torch.from_numpy(labels),
        patients_N=torch.arange(count),
        num_patients=count,
    )


def as_test(images: LabelledImages) -> TestSet:
    return TestSet(images_NCHW=images.images_NCHW, labels_N=images.labels_N, patients_N=images.patients_N)


def learn(*, seed: int, optimizer: Literal["adam", "sgd"] = "adam") -> BaselineCurves:
    terms = BaselineTerms(epochs=2, optimizer=optimizer, learning_rate=0.005, seed=seed)
    return train_baseline(
        bright_or_dark(256, seed=1), as_test(bright_or_dark(100, seed=2)), spec=GREY, positive=1, terms=terms
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_easy_task_is_learnt(optimizer: Literal["adam", "sgd"]) -> None:
    curves = learn(seed=0, optimizer=optimizer)

    assert curves.test[-1].auc.value > 0.95
    assert curves.train[-1].loss < curves.train[0].loss
    assert len(curves.train) == len(curves.test) == 2


def test_the_same_seed_gives_the_same_curves_and_another_does_not() -> None:
    first = learn(seed=3)

    assert first == learn(seed=3)
    assert first != learn(seed=4)


def test_auc_counts_from_the_named_positive_class() -> None:
    images, terms = bright_or_dark(128, seed=1), BaselineTerms(epochs=1)
    of_ones = train_baseline(images, as_test(images), spec=GREY, positive=1, terms=terms).test[-1].auc
    of_zeros = train_baseline(images, as_test(images), spec=GREY, positive=0, terms=terms).test[-1].auc

    # With two classes the score of one is the other's mirrored, and so are the ranks.
    assert of_ones.value == pytest.approx(of_zeros.value, abs=1e-3)
    assert of_ones.value > 0.8


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}]
)
def test_impossible_terms_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        BaselineTerms(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ending", "first_bytes"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_curves_are_drawn_in_the_endings_format(tmp_path: Path, ending: str, first_bytes: bytes) -> None:
    auc = Estimate(value=0.9, low=0.85, high=0.95)
    curves = BaselineCurves(
        train=(Scores(loss=0.6, accuracy=0.7), Scores(loss=0.3, accuracy=0.9)),
        test=(TestFigures(loss=0.7, accuracy=0.6, auc=auc), TestFigures(loss=0.4, accuracy=0.8, auc=auc)),
    )

    draw_curves(curves, tmp_path / f"curves.{ending}")

    assert (tmp_path / f"curves.{ending}").read_bytes().startswith(first_bytes)
