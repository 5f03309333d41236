"""What training reads: pictures with labels and patient numbers, ready to index, split by patient."""

# Shape letters: N images, C channels, H rows, W columns, K classes.

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.dataset.gathering import gathered
from fed_common.greys import USUAL, renormalised
from fed_common.names import Digest
from fed_common.plans import Normalisation
from fed_common.task import Task


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class LabelledImages:
    """Prepared images with labels; `patients_N` counts the patients from 0, without gaps.

    The images are float32 or, in a quarter to a half of the memory, stored greys (`fed_common.greys`); the
    labels are class numbers or, with several labels, rows of zeros and ones (`fed_common.objective`).
    """

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    patients_N: torch.Tensor
    num_patients: int

    def batch(self, index_N: torch.Tensor, normalisation: Normalisation = USUAL) -> torch.Tensor:
        """Return the images at `index_N` as the model's input, float32."""
        if self.images_NCHW.dtype == torch.float32:
            return renormalised(self.images_NCHW[index_N], normalisation)
        return torch.from_numpy(gathered(self.images_NCHW.numpy(), index_N.numpy(), normalisation))


@dataclass(frozen=True, kw_only=True)
class SiteDataset:
    """A site's images, no patient on two sides; the same `digest` means the same tensors."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    digest: Digest


def label_tensor(bits_N: NDArray[np.uint64], task: Task) -> torch.Tensor:
    """Return the number of each image's class; with several labels, 0 or 1 for each class (N, K)."""
    classes_K = np.arange(len(task.classes), dtype=np.uint64)
    flags_NK = (bits_N[:, None] >> classes_K) & np.uint64(1)
    if task.multi_label:
        return torch.from_numpy(flags_NK.astype(np.float32))
    return torch.from_numpy(flags_NK.argmax(axis=1).astype(np.int64))
