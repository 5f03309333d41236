"""Opens a version for training: decrypted into memory that has no file, never onto a disk."""

# Shape letters: N pictures, K classes.

import mmap
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.dataset.labelled import LabelledImages, SiteDataset, label_tensor
from fed_client.dataset.table import SIDES, Rows, numbers_of
from fed_client.dataset.versions import Version
from fed_common.errors import DataError, TrustError
from fed_common.task import Task


def open_dataset(version: Version, task: Task, *, site_secret: bytes) -> SiteDataset:
    """Return the pictures of all sides, grouped by patient, as stored greys.

    Raises:
        DataError: the version was made for another task.
        TrustError: it was altered, or encrypted with another secret.
    """
    made = version.manifest
    if made.task != task.digest:
        raise DataError(f"data set {version.name} was made for another task; run `fed-client data add`")
    key = version.key(site_secret)
    rows_N = version.table(key).rows_N
    recipe = task.recipe
    shape = (made.num_rows, recipe.channels, recipe.size, recipe.size)
    if len(rows_N) != made.num_rows or made.row_bytes != 2 * int(np.prod(shape[1:])):
        raise TrustError(f"data set {version.name}: table and images don't belong together")
    memory = mmap.mmap(-1, max(made.num_rows * made.row_bytes, 1))
    version.decrypt("images", memoryview(memory)[: made.num_rows * made.row_bytes], key)
    values_NCHW = np.frombuffer(memory, dtype=np.int16, count=int(np.prod(shape))).reshape(shape)
    begins_at = np.searchsorted(rows_N["side"], np.arange(len(SIDES) + 1))
    train, validation, test = (
        _side(values_NCHW[begin:end], rows_N[begin:end], task) for begin, end in pairwise(begins_at.tolist())
    )
    return SiteDataset(train=train, validation=validation, test=test, digest=version.digest)


def _side(values_NCHW: NDArray[np.int16], rows_N: Rows, task: Task) -> LabelledImages:
    numbers_N, count = numbers_of(rows_N["patient"])
    return LabelledImages(
        images_NCHW=torch.from_numpy(values_NCHW),
        labels_N=label_tensor(rows_N["labels"], task),
        patients_N=torch.from_numpy(numbers_N),
        num_patients=count,
    )
