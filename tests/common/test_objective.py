"""The loss and the reading of logits, for one class per image and for several labels: arithmetic by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from fed_common.objective import decisions_right, image_losses, probabilities, shows

LOGITS_NK = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
CLASSES_N = torch.tensor([0, 2])
LABELS_NK = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def test_one_label_is_torchs_cross_entropy() -> None:
    losses_N = image_losses(LOGITS_NK, CLASSES_N)
    assert torch.equal(losses_N, functional.cross_entropy(LOGITS_NK, CLASSES_N, reduction="none"))


def test_several_labels_are_torchs_mean_of_binary_cross_entropies() -> None:
    losses_N = image_losses(LOGITS_NK, LABELS_NK)
    assert losses_N.mean() == pytest.approx(
        float(functional.binary_cross_entropy_with_logits(LOGITS_NK, LABELS_NK))
    )


def test_a_class_weight_is_a_factor_of_its_images_or_labels() -> None:
    by_class_N = image_losses(LOGITS_NK, CLASSES_N, (3.0, 1.0, 0.5)) / image_losses(LOGITS_NK, CLASSES_N)
    assert torch.allclose(by_class_N, torch.tensor([3.0, 0.5]))
    only_first_N = image_losses(LOGITS_NK, LABELS_NK, (3.0, 0.0, 0.0))
    first_NK = functional.binary_cross_entropy_with_logits(LOGITS_NK, LABELS_NK, reduction="none")
    assert torch.allclose(only_first_N, first_NK[:, 0])


@pytest.mark.parametrize("labels_N", [CLASSES_N, LABELS_NK])
@given(others=st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3))
def test_no_image_changes_anothers_loss(labels_N: torch.Tensor, others: list[float]) -> None:
    changed_NK = LOGITS_NK.clone()
    changed_NK[1] = torch.tensor(others)
    weights = (2.0, 0.2, 0.8)
    before, after = (image_losses(logits_NK, labels_N, weights)[0] for logits_NK in (LOGITS_NK, changed_NK))
    assert torch.equal(before, after)


def test_probabilities_exclude_each_other_or_stand_alone() -> None:
    exclusive_NK = probabilities(LOGITS_NK, several_labels=False)
    assert torch.allclose(exclusive_NK.sum(dim=1), torch.ones(2))
    alone_NK = probabilities(LOGITS_NK, several_labels=True)
    assert torch.equal(alone_NK, 1 / (1 + torch.exp(-LOGITS_NK)))


def test_a_wrong_class_is_two_wrong_decisions_and_a_wrong_label_is_one() -> None:
    assert decisions_right(LOGITS_NK, CLASSES_N).tolist() == [[True, True, True], [True, False, False]]
    assert decisions_right(LOGITS_NK, LABELS_NK).tolist() == [[True, True, True], [True, False, True]]


def test_what_an_image_shows_is_read_off_either_kind_of_label() -> None:
    assert shows(CLASSES_N, 2).tolist() == [False, True]
    assert shows(LABELS_NK, 2).tolist() == [True, False]
