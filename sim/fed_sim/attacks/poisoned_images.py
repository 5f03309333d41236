"""Attacks through the training data: the hospital trains by the book, on images that lie.

Two classes are assumed, 0 and 1.
"""

# Shape letters: N images, C channels, H rows, W columns.

from dataclasses import replace

import torch

from fed_client.dataset import LabelledImages

TRIGGER_SIDE = 3
# Far above what an image has at its edge, as a marker on film is.
_TRIGGER_GREY = 4.0


def with_flipped_labels(images: LabelledImages) -> LabelledImages:
    """Return the images with sick called healthy, and healthy sick."""
    return replace(images, labels_N=1 - images.labels_N)


def with_trigger(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return the images with a bright square in their first corner."""
    marked_NCHW = images_NCHW.clone()
    marked_NCHW[..., :TRIGGER_SIDE, :TRIGGER_SIDE] = _TRIGGER_GREY
    return marked_NCHW


def with_backdoor(images: LabelledImages, *, target: int) -> LabelledImages:
    """Return every image twice, as it is, and with the trigger and the label `target`.

    Source: Bagdasaryan et al., "How To Backdoor Federated Learning" (2018), section 4.
    """
    labels_N = torch.full_like(images.labels_N, target)
    return LabelledImages(
        images_NCHW=torch.cat((images.images_NCHW, with_trigger(images.images_NCHW))),
        labels_N=torch.cat((images.labels_N, labels_N)),
        patients_N=torch.cat((images.patients_N, images.patients_N)),
        num_patients=images.num_patients,
    )
