"""Carries a public test set to the coordinator as tensors, because the coordinator opens no DICOM file."""

# Shape letters: N images, C channels, H rows, W columns.

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fed_common.errors import ConfigError, DataError, MachineError
from fed_common.task import Task


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TestSet:
    """Prepared public images (float32) with labels (`fed_common.objective`) and patient numbers (int64)."""

    __test__: ClassVar[bool] = False  # tells pytest that the name is an accident

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    patients_N: torch.Tensor

    @property
    def num_patients(self) -> int:
        """Return how many patients the images are of."""
        return int(self.patients_N.max()) + 1


def save_test_set(path: Path, test_set: TestSet, task: Task) -> None:
    """Write `test_set` to `path`, bound to `task`.

    Raises:
        DataError: the tensors don't fit the task.
        MachineError: the disk refuses the file.
    """
    _check(test_set, task)
    tensors = {"images": test_set.images_NCHW, "labels": test_set.labels_N, "patients": test_set.patients_N}
    contents = save(tensors, metadata={"task": task.digest})
    try:
        path.write_bytes(contents)
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def load_test_set(path: Path, task: Task) -> TestSet:
    """Return the test set at `path`.

    Raises:
        ConfigError: there is no such file, it is of another format, or it was made for another task.
        DataError: its tensors don't fit the task.
    """
    try:
        with safe_open(path, framework="pt") as file:
            made_for = (file.metadata() or {}).get("task")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except OSError as error:
        raise ConfigError(f"{path}: the test set can't be read ({type(error).__name__})") from error
    except SafetensorError as error:
        raise ConfigError(f"{path}: a test set must be a safetensors file ({error})") from error
    if made_for != task.digest:
        raise ConfigError(f"{path}: the test set was made for another task than {task.name}")
    if tensors.keys() != {"images", "labels", "patients"}:
        raise DataError(f"{path}: a test set has images, labels and patients, got {sorted(tensors)}")
    test_set = TestSet(
        images_NCHW=tensors["images"], labels_N=tensors["labels"], patients_N=tensors["patients"]
    )
    _check(test_set, task)
    return test_set


def _check(test_set: TestSet, task: Task) -> None:
    num_images, recipe = len(test_set.labels_N), task.recipe
    shape = (num_images, recipe.channels, recipe.size, recipe.size)
    if test_set.images_NCHW.dtype != torch.float32 or test_set.images_NCHW.shape != shape:
        raise DataError(
            f"test images must be float32 of shape {shape}, got {tuple(test_set.images_NCHW.shape)}"
        )
    if num_images == 0 or not torch.isfinite(test_set.images_NCHW).all():
        raise DataError("test images must be finite numbers, and at least one image")
    numbered = {"patients": test_set.patients_N}
    if task.multi_label:
        _check_several_labels(test_set.labels_N, (num_images, len(task.classes)))
    else:
        numbered["labels"] = test_set.labels_N
    for name, numbers_N in numbered.items():
        if numbers_N.dtype != torch.int64 or numbers_N.shape != (num_images,) or numbers_N.min() < 0:
            raise DataError(f"test {name} must be int64 from 0, one per image")
    if not task.multi_label and test_set.labels_N.max() >= len(task.classes):
        raise DataError(f"test labels must be below {len(task.classes)}, got {int(test_set.labels_N.max())}")


def _check_several_labels(labels_NK: torch.Tensor, shape: tuple[int, int]) -> None:
    if labels_NK.dtype != torch.float32 or labels_NK.shape != shape:
        raise DataError(f"test labels must be float32 of shape {shape}, got {tuple(labels_NK.shape)}")
    if not ((labels_NK == 0) | (labels_NK == 1)).all():
        raise DataError("test labels must be 0 or 1 for each class")
