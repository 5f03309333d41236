import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fed_common.errors import ConfigError, DataError
from fed_common.task import load_task
from fed_sim.imports import ArraySource, import_array
from fed_sim.partition import Spread

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
SPREAD = Spread(sites=3, seed=1)


def write_array(folder: Path, *, patients: list[str], labels: list[str]) -> ArraySource:
    np.savez(folder / "images.npz", images=np.zeros((len(patients), 8, 8), np.uint8))
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "patient", "cardiomegaly"))
        writer.writerows(zip(range(len(patients)), patients, labels, strict=True))
    return ArraySource(images=folder / "images.npz", index=folder / "index.csv", label_column="cardiomegaly")


def patients_of(out: Path) -> dict[str, set[str]]:
    return {
        site.name: {header.PatientID for header in map(pydicom.dcmread, site.rglob("*.dcm"))}
        for site in out.iterdir()
        if site.is_dir()
    }


def assert_no_patient_on_two_sides(out: Path) -> None:
    groups = list(patients_of(out).values())
    assert sum(len(group) for group in groups) == len(set().union(*groups))


def test_an_array_is_split_by_patient_and_no_image_is_lost(tmp_path: Path) -> None:
    patients = [f"p{number % 12}" for number in range(60)]
    source = write_array(tmp_path, patients=patients, labels=["0", "1"] * 30)

    summary = import_array(source, tmp_path / "out", spread=SPREAD, test_fraction=0.25)

    assert_no_patient_on_two_sides(tmp_path / "out")
    assert summary.public_test.num_patients == 3
    assert sum(site.num_images for site in summary.sites) + summary.public_test.num_images == 60
    assert load_task(tmp_path / "out" / "task.toml").classes == ("no-cardiomegaly", "cardiomegaly")


@pytest.mark.parametrize("label", ["2", "-1", "yes", ""])
def test_a_label_that_is_not_0_or_1_is_refused(tmp_path: Path, label: str) -> None:
    source = write_array(tmp_path, patients=["a", "b", "c"], labels=["0", "1", label])

    with pytest.raises(DataError, match="cardiomegaly"):
        import_array(source, tmp_path / "out", spread=SPREAD)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_test_fraction_that_is_none_is_refused(tmp_path: Path, fraction: float) -> None:
    source = write_array(tmp_path, patients=["a", "b"], labels=["0", "1"])

    with pytest.raises(ConfigError, match="test_fraction"):
        import_array(source, tmp_path / "out", spread=SPREAD, test_fraction=fraction)


def write_split(folder: Path, *, splits: list[str], copies: dict[int, int]) -> ArraySource:
    """Return images of one patient each; the copies are a little brighter."""
    images = np.random.default_rng(0).integers(0, 200, (len(splits), 16, 16)).astype(np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    for copy, original in copies.items():
        images[copy] = images[original] + 20
    np.savez(folder / "images.npz", images=images)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "cardiomegaly", "split"))
        writer.writerows((row, row % 2, split) for row, split in enumerate(splits))
    return ArraySource(
        images=folder / "images.npz",
        index=folder / "index.csv",
        label_column="cardiomegaly",
        test_split="test",
    )


def test_a_sources_own_test_stays_whole_and_what_looks_like_it_goes_to_no_hospital(tmp_path: Path) -> None:
    splits = ["train"] * 12 + ["test"] * 8
    source = write_split(tmp_path, splits=splits, copies={0: 12, 1: 13, 3: 2, 15: 14})

    summary = import_array(source, tmp_path / "out", spread=SPREAD)

    assert summary.public_test.num_images == 8
    assert sum(site.num_images for site in summary.sites) == 12 - 2
    assert summary.made["images_left_out_because_like_one_in_test"] == 2


def test_a_test_split_that_no_row_is_of_is_refused(tmp_path: Path) -> None:
    source = write_split(tmp_path, splits=["train"] * 4, copies={})

    with pytest.raises(DataError, match="no row is of the split"):
        import_array(source, tmp_path / "out", spread=SPREAD)


def test_an_index_of_another_array_is_refused(tmp_path: Path) -> None:
    source = write_array(tmp_path, patients=["a", "b"], labels=["0", "1"])
    np.savez(source.images, images=np.zeros((3, 8, 8), np.uint8))

    with pytest.raises(DataError, match="2 rows for 3 images"):
        import_array(source, tmp_path / "out", spread=SPREAD)


@pytest.mark.skipif(not (SHARED_DATA / "nih_cxr1000").is_dir(), reason="shared/data/nih_cxr1000 is not here")
def test_no_nih_patient_is_on_two_sides(tmp_path: Path) -> None:
    folder = SHARED_DATA / "nih_cxr1000"
    source = ArraySource(images=folder / "images.npz", index=folder / "index.csv", label_column="label")

    summary = import_array(source, tmp_path / "out", spread=SPREAD)

    assert load_task(tmp_path / "out" / "task.toml").classes == ("no_finding", "abnormal")
    # 264 patients have 1000 images (SOURCE.md).
    everyone = [*summary.sites, summary.public_test]
    assert sum(site.num_patients for site in everyone) == 264
    assert sum(site.num_images for site in everyone) == 1000
    assert_no_patient_on_two_sides(tmp_path / "out")
