"""What a model is trained towards and how its logits are read: one class per image, or any number of labels.

Labels of one-label tasks are class numbers (N, int64); with several labels, zeros and ones (N x K, float32).
Every loss depends on one image alone (privacy rule 13): what couples images would couple patients.
"""

# Shape letters: N images, K classes.

from collections.abc import Sequence

import torch
from torch.nn import functional


def has_several_labels(labels_N: torch.Tensor) -> bool:
    """Tell whether each image has a row of labels instead of one class."""
    return labels_N.dim() == 2


def image_losses(
    logits_NK: torch.Tensor, labels_N: torch.Tensor, class_weights: Sequence[float] = ()
) -> torch.Tensor:
    """Return each image's own loss (N): cross-entropy, or with several labels the mean of their binary ones.

    `class_weights` are public factors, one per class, or none: of an image by its class, or of each label.
    """
    if has_several_labels(labels_N):
        losses_NK = functional.binary_cross_entropy_with_logits(logits_NK, labels_N, reduction="none")
        if class_weights:
            losses_NK = losses_NK * torch.tensor(class_weights, device=logits_NK.device)
        return losses_NK.mean(dim=1)
    losses_N = functional.cross_entropy(logits_NK, labels_N, reduction="none")
    if class_weights:
        losses_N = losses_N * torch.tensor(class_weights, device=logits_NK.device)[labels_N]
    return losses_N


def probabilities(logits_NK: torch.Tensor, *, several_labels: bool) -> torch.Tensor:
    """Return each class's probability: of classes that exclude each other, or of each on its own."""
    return torch.sigmoid(logits_NK) if several_labels else torch.softmax(logits_NK, dim=1)


def decisions_right(logits_NK: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return for each image and class whether the model rightly calls it present or absent (N x K)."""
    if has_several_labels(labels_N):
        return (logits_NK > 0) == labels_N.bool()
    classes_K = torch.arange(logits_NK.shape[1])
    return (logits_NK.argmax(dim=1)[:, None] == classes_K) == (labels_N[:, None] == classes_K)


def shows(labels_N: torch.Tensor, class_index: int) -> torch.Tensor:
    """Return whether each image shows the class (N, bool)."""
    return labels_N[:, class_index] == 1 if has_several_labels(labels_N) else labels_N == class_index
