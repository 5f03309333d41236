"""What is said of a model on public images: each kind of label by its own rule, and the input as trained."""

import pytest
import torch
from tests.fakes import FIRST_P, MODEL, images_of
from torch import nn

from fed_common.greys import USUAL, model_input
from fed_common.layout import load_flat
from fed_common.models import build_model
from fed_common.plans import Normalisation
from fed_common.scoring import judge, positive_scores
from fed_common.test_set import TestSet

BRIGHT = Normalisation(mean=0.8, spread=0.1)


class FirstPixels(nn.Module):
    """Takes an image's first pixels for its logits."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return images_NCHW.flatten(1)[:, :3]


def with_logits(rows: list[list[float]], labels: list[list[float]]) -> TestSet:
    images_NCHW = torch.zeros(len(rows), 1, 4, 4)
    images_NCHW[:, 0, 0, :3] = torch.tensor(rows)
    return TestSet(images_NCHW=images_NCHW, labels_N=torch.tensor(labels), patients_N=torch.arange(len(rows)))


SEVERAL = with_logits([[1, 2, -1], [-1, 1, 1], [2, -3, 0.5]], [[1.0, 1, 0], [1, 0, 1], [1, 0, 0]])


def test_several_labels_are_judged_class_by_class() -> None:
    figures = judge(FirstPixels(), SEVERAL, positive=1)
    assert figures.class_accuracy == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.auc.value == 1.0  # class 1: image 0 shows it and scores highest
    loss = nn.BCEWithLogitsLoss()(SEVERAL.images_NCHW.flatten(1)[:, :3], SEVERAL.labels_N)
    assert figures.loss == pytest.approx(float(loss))


def test_a_positive_score_of_several_labels_ignores_the_other_classes() -> None:
    scores_N = positive_scores(
        FirstPixels(), SEVERAL.images_NCHW, positive=1, several_labels=True, normalisation=USUAL
    )
    assert scores_N == pytest.approx(torch.sigmoid(torch.tensor([2.0, 1.0, -3.0])).tolist())


def test_another_normalisation_of_a_stored_test_set_is_that_of_the_greys_themselves() -> None:
    stored_NCHW = torch.randint(-32768, 32768, (5, 1, 4, 4), dtype=torch.int16)
    usual_NCHW = model_input(stored_NCHW)
    assert model_input(usual_NCHW) is usual_NCHW
    moved_NCHW = model_input(usual_NCHW, BRIGHT)
    torch.testing.assert_close(moved_NCHW, model_input(stored_NCHW, BRIGHT), atol=1e-5, rtol=1e-5)
    greys_NCHW = (stored_NCHW.double() + 32768) / 65535
    torch.testing.assert_close(moved_NCHW.double(), (greys_NCHW - 0.8) / 0.1, atol=1e-5, rtol=1e-5)


def test_the_figures_are_those_of_the_normalised_images() -> None:
    images = images_of(40)
    model = build_model(MODEL)
    load_flat(model, FIRST_P)
    raw = TestSet(images_NCHW=images.images_NCHW, labels_N=images.labels_N, patients_N=images.patients_N)
    moved = TestSet(
        images_NCHW=model_input(images.images_NCHW, BRIGHT),
        labels_N=images.labels_N,
        patients_N=images.patients_N,
    )
    figures = judge(model, raw, positive=1, normalisation=BRIGHT)
    assert figures == judge(model, moved, positive=1)
    assert figures != judge(model, raw, positive=1)
