"""What training reads: pictures with labels and patient numbers, ready to index, split by patient."""

# Shape letters: N images, C channels, H rows, W columns.

from dataclasses import dataclass

import torch

from fed_common.greys import model_input
from fed_common.names import Digest


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class LabelledImages:
    """Prepared images with labels; `patients_N` counts the patients from 0, without gaps.

    The images are float32 or, in a quarter to a half of the memory, stored greys (`fed_common.greys`).
    """

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    patients_N: torch.Tensor
    num_patients: int

    def batch(self, index_N: torch.Tensor) -> torch.Tensor:
        """Return the images at `index_N` as the model's input, float32."""
        return model_input(self.images_NCHW[index_N])


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A file that wasn't used: its place, from 0, among all file names in order, and why."""

    index: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class SiteDataset:
    """A site's images, no patient on both sides; the same `digest` means the same tensors."""

    train: LabelledImages
    validation: LabelledImages
    digest: Digest
    unreadable: tuple[UnreadableFile, ...]
