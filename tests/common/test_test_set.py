"""The coordinator's test set: what was saved comes back, and nothing else does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fed_common.errors import ConfigError, DataError, MachineError
from fed_common.task import Recipe, Task
from fed_common.test_set import TestSet, load_test_set, save_test_set

TASK = Task(name="chest", classes=("normal", "finding"), positive="finding", recipe=Recipe(size=4))


def make_test_set() -> TestSet:
    return TestSet(
        images_NCHW=torch.arange(48, dtype=torch.float32).reshape(3, 1, 4, 4),
        labels_N=torch.tensor([0, 1, 1]),
        patients_N=torch.tensor([0, 0, 1]),
    )


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    saved = make_test_set()
    save_test_set(tmp_path / "test.safetensors", saved, TASK)
    loaded = load_test_set(tmp_path / "test.safetensors", TASK)
    assert torch.equal(loaded.images_NCHW, saved.images_NCHW)
    assert torch.equal(loaded.labels_N, saved.labels_N)
    assert torch.equal(loaded.patients_N, saved.patients_N)


def test_the_same_test_set_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        save_test_set(tmp_path / name, make_test_set(), TASK)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_test_set_of_another_task_is_refused(tmp_path: Path) -> None:
    save_test_set(tmp_path / "test.safetensors", make_test_set(), TASK)
    swapped = replace(TASK, classes=("finding", "normal"))
    with pytest.raises(ConfigError, match="made for another task than chest"):
        load_test_set(tmp_path / "test.safetensors", swapped)


def test_what_is_no_test_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.safetensors"
    with pytest.raises(ConfigError, match="can't be read"):
        load_test_set(path, TASK)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ConfigError, match="must be a safetensors file"):
        load_test_set(path, TASK)
    save_file({"images": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="made for another task"):
        load_test_set(path, TASK)
    save_file({"images": torch.zeros(1)}, path, metadata={"task": TASK.digest})
    with pytest.raises(DataError, match="has images, labels and patients"):
        load_test_set(path, TASK)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"images_NCHW": torch.zeros(3, 1, 4, 5)}, "must be float32 of shape"),
        ({"images_NCHW": torch.zeros(2, 1, 4, 4)}, "must be float32 of shape"),
        ({"images_NCHW": torch.zeros(3, 1, 4, 4, dtype=torch.float64)}, "must be float32 of shape"),
        ({"images_NCHW": torch.full((3, 1, 4, 4), float("nan"))}, "finite"),
        ({"labels_N": torch.tensor([0, 1, 2])}, "labels must be below 2, got 2"),
        ({"labels_N": torch.tensor([0, 1, -1])}, "labels must be int64 from 0"),
        ({"labels_N": torch.tensor([0.0, 1.0, 1.0])}, "labels must be int64 from 0"),
        ({"patients_N": torch.tensor([0, 1])}, "patients must be int64 from 0"),
    ],
)
def test_tensors_that_do_not_fit_are_neither_saved_nor_loaded(
    tmp_path: Path, changed: dict[str, torch.Tensor], reason: str
) -> None:
    wrong = replace(make_test_set(), **changed)
    path = tmp_path / "test.safetensors"
    with pytest.raises(DataError, match=reason):
        save_test_set(path, wrong, TASK)
    assert not path.exists()
    tensors = {"images": wrong.images_NCHW, "labels": wrong.labels_N, "patients": wrong.patients_N}
    save_file(tensors, path, metadata={"task": TASK.digest})
    with pytest.raises(DataError, match=reason):
        load_test_set(path, TASK)


def test_an_empty_test_set_is_refused(tmp_path: Path) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = TestSet(images_NCHW=torch.zeros(0, 1, 4, 4), labels_N=nothing, patients_N=nothing)
    with pytest.raises(DataError, match="at least one image"):
        save_test_set(tmp_path / "test.safetensors", empty, TASK)


def test_a_disk_that_refuses_is_the_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="can't be written"):
        save_test_set(tmp_path / "nowhere" / "test.safetensors", make_test_set(), TASK)


SEVERAL = replace(TASK, multi_label=True)


def test_several_labels_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved = replace(make_test_set(), labels_N=torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    save_test_set(tmp_path / "test.safetensors", saved, SEVERAL)
    assert torch.equal(load_test_set(tmp_path / "test.safetensors", SEVERAL).labels_N, saved.labels_N)


@pytest.mark.parametrize(
    ("labels_N", "reason"),
    [
        (torch.tensor([0, 1, 1]), "float32 of shape"),
        (torch.zeros(3, 3), "float32 of shape"),
        (torch.zeros(3, 2, dtype=torch.float64), "float32 of shape"),
        (torch.full((3, 2), 0.5), "0 or 1"),
        (torch.full((3, 2), float("nan")), "0 or 1"),
    ],
)
def test_several_labels_of_another_form_are_refused(
    tmp_path: Path, labels_N: torch.Tensor, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        save_test_set(tmp_path / "test", replace(make_test_set(), labels_N=labels_N), SEVERAL)
