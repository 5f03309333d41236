"""What is reopened is what was registered, ready to index, and never touched by the folder's later fate."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.client.dataset.folders import KEYS, TASK, Folder
from tests.fakes import new_key

from fed_client.dataset import LabelledImages
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import latest_version
from fed_common.errors import DataError, TrustError
from fed_common.greys import model_input, stored, unstored

HALVES = Fractions(validation=0.3, test=0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "site")
    for number in range(30):
        folder.add(number)
    return folder


def test_a_version_opens_without_the_folder(folder: Folder) -> None:
    version = folder.register(fractions=HALVES)
    before = open_dataset(version, TASK, site_secret=KEYS.secret)
    shutil.rmtree(folder.images)
    again = latest_version(folder.datasets, KEYS.identity.verifying_key)
    assert again is not None
    after = open_dataset(again, TASK, site_secret=KEYS.secret)
    assert torch.equal(before.train.images_NCHW, after.train.images_NCHW)
    assert before.digest == after.digest == version.digest


def test_sides_are_as_the_manifest_says(folder: Folder) -> None:
    version = folder.register(fractions=HALVES)
    dataset = open_dataset(version, TASK, site_secret=KEYS.secret)
    for side, images in zip(
        version.manifest.sides, (dataset.train, dataset.validation, dataset.test), strict=True
    ):
        assert (side.patients, side.images) == (images.num_patients, len(images.labels_N))
        assert [count.images for count in side.classes] == images.labels_N.bincount(minlength=2).tolist()


def test_another_task_is_told_to_register_again(folder: Folder) -> None:
    version = folder.register()
    other = replace(TASK, recipe=replace(TASK.recipe, intensity="percentile"))
    with pytest.raises(DataError, match="v0001 was made for another task; run `fed-client data add`"):
        open_dataset(version, other, site_secret=KEYS.secret)


@pytest.mark.parametrize("name", ["images", "table"])
def test_an_altered_file_is_never_trained_on(folder: Folder, name: str) -> None:
    version = folder.register()
    raw = bytearray((version.path / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (version.path / name).write_bytes(raw)
    with pytest.raises(TrustError, match="altered"):
        open_dataset(version, TASK, site_secret=KEYS.secret)


def test_an_altered_or_foreign_manifest_is_refused(folder: Folder) -> None:
    path = folder.register().path / "manifest.json"
    line = path.read_bytes()
    path.write_bytes(line.replace(b'"patients":', b'"patients": ', 1))
    with pytest.raises(TrustError):
        latest_version(folder.datasets, KEYS.identity.verifying_key)
    path.write_bytes(line)
    with pytest.raises(TrustError, match="signature"):
        latest_version(folder.datasets, new_key().verifying_key)


def test_images_of_another_version_are_refused(folder: Folder) -> None:
    first = folder.register()
    folder.rows[4] = folder.rows[4].replace("finding", "normal")
    second = folder.register()
    shutil.copy(first.path / "images", second.path / "images")
    with pytest.raises(TrustError, match="altered"):
        open_dataset(second, TASK, site_secret=KEYS.secret)


def test_another_sites_secret_opens_nothing(folder: Folder) -> None:
    with pytest.raises(TrustError, match="another secret"):
        open_dataset(folder.register(), TASK, site_secret=bytes(32))


def test_several_labels_are_columns_of_zero_and_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path, task=replace(TASK, multi_label=True))
    for number, label in enumerate(("normal", "finding", "normal;finding", "", "finding")):
        folder.add(number, label="x")
        folder.rows[-1] = f"{number:03}.dcm,{label}"
    version = folder.register(fractions=Fractions(validation=0, test=0))
    labels_NK = open_dataset(version, folder.task, site_secret=KEYS.secret).train.labels_N
    assert sorted(labels_NK.tolist()) == sorted([[1, 0], [0, 1], [1, 1], [0, 0], [0, 1]])


def test_batches_are_what_the_whole_is() -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (20, 3, 8, 8), dtype=np.uint16)
    grey[0, 0, 0, :2] = 0, 65535
    np.testing.assert_array_equal(unstored(stored(grey)), grey)
    images = LabelledImages(
        images_NCHW=torch.from_numpy(stored(grey)),
        labels_N=torch.zeros(20, dtype=torch.int64),
        patients_N=torch.arange(20),
        num_patients=20,
    )
    index_N = torch.tensor([3, 0, 19, 3])
    wanted = (grey[index_N.numpy()] / 65535 - 0.5) / 0.25
    np.testing.assert_allclose(images.batch(index_N).numpy(), wanted, atol=1e-6)
    assert torch.equal(images.batch(index_N), model_input(images.images_NCHW)[index_N])
    assert images.batch(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("outside", [-1, 20])
def test_an_image_that_is_not_there_is_refused(outside: int) -> None:
    images = LabelledImages(
        images_NCHW=torch.zeros(20, 1, 4, 4, dtype=torch.int16),
        labels_N=torch.zeros(20, dtype=torch.int64),
        patients_N=torch.arange(20),
        num_patients=20,
    )
    with pytest.raises(IndexError, match="from 0 to 19"):
        images.batch(torch.tensor([outside]))
