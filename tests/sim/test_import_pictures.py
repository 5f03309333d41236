"""Collections without patients, and with splits that leak: what an import hands on, a hospital counts."""

import csv
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from fed_client.dataset.public import load_public_test
from fed_client.dataset.registration import register
from fed_client.dataset.source import SiteKeys, Source
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version
from fed_client.reading.pool import ReaderPool
from fed_common.errors import DataError
from fed_common.signing import SigningKey
from fed_common.task import load_task
from fed_sim.imports import ArraySource, import_array
from fed_sim.partition import Spread
from fed_sim.pictures import PictureSource, import_pictures

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
ONE_SITE = Spread(sites=1, seed=1)


def registered(federation: Path) -> Version:
    """Return the data set of the only hospital of an import; public pictures are not searched for text."""
    return register(
        Source(
            images=federation / "hospital-1" / "images",
            labels=federation / "hospital-1" / "labels.csv",
            fractions=Fractions(validation=0.2, test=0.1),
        ),
        task=load_task(federation / "task.toml"),
        keys=SiteKeys(identity=SigningKey(Ed25519PrivateKey.generate()), secret=bytes(32)),
        folder=federation / "datasets",
        min_patients=10,
        open_reader=lambda recipe: ReaderPool.opened(recipe, num_workers=2, look_for_text=False),
    )


def write_pictures(folder: Path, *, columns: str = "file,label,patient,split") -> PictureSource:
    rng = np.random.default_rng(0)
    rows = [columns.split(",")]
    for number in range(12):
        name = f"{'ab'[number % 2]}/{number}.{'png' if number < 6 else 'jpg'}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(folder / name)
        cells = {"file": name, "label": "ab"[number % 2], "patient": f"p{number // 2}", "split": "train"}
        rows.append([cells[column] for column in rows[0]])
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return PictureSource(folder=folder, index=folder / "index.csv")


def test_a_folder_of_pictures_becomes_hospitals_that_can_read_them(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "pictures")
    summary = import_pictures(source, tmp_path / "out", spread=Spread(sites=2, seed=1), test_fraction=0)
    assert sum(site.num_images for site in summary.sites) == 12
    assert sum(site.num_patients for site in summary.sites) == 6
    assert not (tmp_path / "out" / "public-test").exists()
    for site in summary.sites:
        found = load_public_test(tmp_path / "out" / site.name, load_task(tmp_path / "out" / "task.toml"))
        assert (len(found.labels_N), found.num_patients) == (site.num_images, site.num_patients)


def test_pictures_without_patients_count_as_one_each(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "pictures", columns="file,label")
    (tmp_path / "pictures" / "b/1.png").write_bytes((tmp_path / "pictures" / "b/3.png").read_bytes())
    summary = import_pictures(source, tmp_path / "out", spread=ONE_SITE)
    assert summary.sites[0].num_patients + summary.public_test.num_patients == 11


def test_an_index_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "pictures")
    source.index.write_text("file,label\n../../secret.png,a\na/0.png,b\n")
    with pytest.raises(DataError, match="a PNG or JPEG file in the folder"):
        import_pictures(source, tmp_path / "out", spread=ONE_SITE)


def test_an_array_without_patients_counts_distinct_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    images[9] = images[0]
    np.savez(tmp_path / "images.npz", images=images)
    rows = "".join(f"{number % 2},{'ab'[number % 2]},train\n" for number in range(10))
    (tmp_path / "index.csv").write_text(f"label,label_name,split\n{rows}")
    source = ArraySource(images=tmp_path / "images.npz", index=tmp_path / "index.csv", label_column="label")
    summary = import_array(source, tmp_path / "out", spread=ONE_SITE, test_fraction=0)
    assert (summary.sites[0].num_images, summary.sites[0].num_patients) == (10, 9)
    labels = (tmp_path / "out" / "hospital-1" / "labels.csv").read_text().splitlines()
    assert labels[:2] == ["file,label,split", "image-000000.dcm,a,train"]


def real(name: str) -> ArraySource:
    folder = SHARED_DATA / name
    return ArraySource(images=folder / "images.npz", index=folder / "index.csv", label_column="label")


@pytest.mark.skipif(not (SHARED_DATA / "nih_cxr1000").is_dir(), reason="shared/data/nih_cxr1000 is not here")
def test_the_patients_that_leak_in_the_nih_split_are_found(tmp_path: Path) -> None:
    import_array(real("nih_cxr1000"), tmp_path / "out", spread=ONE_SITE, test_fraction=0)
    manifest = registered(tmp_path / "out").manifest
    # 264 patients have 1000 images, 30 of them in more than one of train, valid and test (SOURCE.md).
    assert (manifest.images, manifest.patients) == (1000, 264)
    assert manifest.source_split is not None
    assert (manifest.source_split.patients, manifest.source_split.patients_on_several) == (264, 30)
    assert manifest.duplicates.near_pairs_between_patients == 0


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED_DATA / "brain_mri_nickparvar").is_dir(), reason="shared/data/brain_mri_nickparvar is not here"
)
def test_the_copies_across_a_public_split_are_found(tmp_path: Path) -> None:
    import_array(real("brain_mri_nickparvar"), tmp_path / "out", spread=ONE_SITE, test_fraction=0)
    split = registered(tmp_path / "out").manifest.source_split
    # 300 groups of byte-identical files, 189 of them across train and test (SOURCE.md).
    assert split is not None
    assert (split.duplicate_groups, split.duplicate_groups_on_several) == (300, 189)
