import json
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from fed_client.dataset.public import load_public_test
from fed_common.errors import DataError
from fed_common.task import load_task
from fed_sim.collection import Finding
from fed_sim.imports import import_medmnist
from fed_sim.partition import LabelSkewed, Spread

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
SPREAD = Spread(sites=3, seed=1)


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


def write_medmnist(path: Path, images: dict[str, NDArray[np.uint8]]) -> Path:
    """Write a file as MedMNIST's; even rows have label 0, odd ones 1."""
    labels = {split: np.arange(len(array), dtype=np.uint8)[:, None] % 2 for split, array in images.items()}
    np.savez(
        path,
        train_images=images["train"],
        train_labels=labels["train"],
        val_images=images["val"],
        val_labels=labels["val"],
        test_images=images["test"],
        test_labels=labels["test"],
    )
    return path


def small_medmnist(folder: Path, *, name: str = "pneumoniamnist") -> Path:
    splits = (("train", 20), ("val", 6), ("test", 8))
    images = {split: noise(size, 9, 9, seed=size) for split, size in splits}
    return write_medmnist(folder / f"{name}.npz", images)


def headers_of(site: Path) -> dict[str, pydicom.FileDataset]:
    return {path.name: pydicom.dcmread(path) for path in sorted(site.rglob("*.dcm"))}


def test_the_official_test_split_is_the_public_test_pixel_for_pixel(tmp_path: Path) -> None:
    npz = small_medmnist(tmp_path)

    import_medmnist(npz, tmp_path / "out", spread=SPREAD)

    written_NHW = [header.pixel_array for header in headers_of(tmp_path / "out" / "public-test").values()]
    np.testing.assert_array_equal(written_NHW, np.load(npz)["test_images"])


def test_train_and_val_are_dealt_out_and_the_hospitals_reader_takes_them(tmp_path: Path) -> None:
    summary = import_medmnist(small_medmnist(tmp_path), tmp_path / "out", spread=SPREAD)

    assert sum(site.num_images for site in summary.sites) == 26
    for site in summary.sites:
        examples = load_public_test(tmp_path / "out" / site.name, load_task(tmp_path / "out" / "task.toml"))
        assert (len(examples.labels_N), examples.num_patients) == (site.num_images, site.num_patients)


def test_an_imported_file_is_a_digital_x_ray_that_names_nobody(tmp_path: Path) -> None:
    import_medmnist(small_medmnist(tmp_path), tmp_path / "out", spread=SPREAD)

    for header in headers_of(tmp_path / "out" / "hospital-1").values():
        assert (header.Modality, header.SOPClassUID) == ("DX", "1.2.840.10008.5.1.4.1.1.1.1")
        assert (header.BitsStored, header.PhotometricInterpretation) == (8, "MONOCHROME2")
        assert (header.WindowCenter, header.WindowWidth) == (128, 256)
        assert (str(header.PatientName), header.PatientBirthDate, header.InstitutionName) == ("", "", "")


def test_byte_identical_images_are_one_patient_and_never_also_in_the_test(tmp_path: Path) -> None:
    train, test = noise(10, 9, 9, seed=1), noise(4, 9, 9, seed=2)
    train[1] = train[0]
    train[2] = test[3]
    npz = write_medmnist(tmp_path / "some.npz", {"train": train, "val": noise(2, 9, 9), "test": test})

    summary = import_medmnist(npz, tmp_path / "out", spread=SPREAD)

    assert sum(site.num_images for site in summary.sites) == 11
    assert sum(site.num_patients for site in summary.sites) == 10
    assert summary.made["images_left_out_because_also_in_test"] == 1


@pytest.mark.parametrize(
    ("name", "classes", "positive"),
    [
        ("pneumoniamnist", ["normal", "pneumonia"], "pneumonia"),
        ("breastmnist", ["malignant", "normal-or-benign"], "malignant"),
        ("othermnist", ["class-0", "class-1"], "class-1"),
    ],
)
def test_the_file_name_tells_the_classes(
    tmp_path: Path, name: str, classes: list[str], positive: str
) -> None:
    import_medmnist(small_medmnist(tmp_path, name=name), tmp_path / "out", spread=SPREAD)

    task = tomllib.loads((tmp_path / "out" / "task.toml").read_text())
    assert (task["name"], task["classes"], task["positive"]) == (name, classes, positive)


def test_the_caller_may_name_the_classes(tmp_path: Path) -> None:
    finding = Finding(classes=("low (grade)", "hoch"), positive="hoch", modality="MR")

    summary = import_medmnist(small_medmnist(tmp_path), tmp_path / "out", spread=SPREAD, finding=finding)

    assert load_task(tmp_path / "out" / "task.toml").classes == finding.classes
    assert summary.public_test.modality == "MR"


def test_colour_images_become_ophthalmic_photographs(tmp_path: Path) -> None:
    images = {split: noise(6, 9, 9, 3, seed=seed) for seed, split in enumerate(("train", "val", "test"))}

    import_medmnist(write_medmnist(tmp_path / "eye.npz", images), tmp_path / "out", spread=SPREAD)

    headers = list(headers_of(tmp_path / "out" / "public-test").values())
    assert {header.SOPClassUID for header in headers} == {"1.2.840.10008.5.1.4.1.1.77.1.5.1"}
    np.testing.assert_array_equal([header.pixel_array for header in headers], images["test"])
    assert load_public_test(
        tmp_path / "out" / "public-test", load_task(tmp_path / "out" / "task.toml")
    ).images_NCHW.shape == (6, 3, 32, 32)


def test_federation_json_says_where_everything_came_from(tmp_path: Path) -> None:
    npz = small_medmnist(tmp_path)

    import_medmnist(npz, tmp_path / "out", spread=Spread(sites=2, partition=LabelSkewed(alpha=0.5), seed=9))

    made = json.loads((tmp_path / "out" / "federation.json").read_text())["made"]
    assert (made["seed"], made["partition_kind"], made["partition_alpha"]) == (9, "LabelSkewed", 0.5)
    assert (made["source"], len(made["sha256"])) == ("pneumoniamnist.npz", 64)
    assert "the source names none" in made["patients"]


def test_a_broken_file_is_one_line_for_the_data_steward(tmp_path: Path) -> None:
    good = small_medmnist(tmp_path)
    broken = {
        name: tmp_path / f"{name}.npz" for name in ("empty", "text", "cut", "damaged", "array", "missing")
    }
    broken["empty"].write_bytes(b"")
    broken["text"].write_text("no archive")
    broken["cut"].write_bytes(good.read_bytes()[:-100])
    broken["damaged"].write_bytes(good.read_bytes().replace(b"NUMPY", b"NUMPX"))
    with broken["array"].open("wb") as file:
        np.save(file, noise(3, 3))

    for path in broken.values():
        with pytest.raises(DataError) as caught:
            import_medmnist(path, tmp_path / "out", spread=SPREAD)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_a_pickle_in_the_archive_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", train_images=np.array([{}], dtype=object))

    with pytest.raises(DataError, match="not a readable"):
        import_medmnist(tmp_path / "pickled.npz", tmp_path / "out", spread=SPREAD)


def test_an_archive_without_a_split_is_refused(tmp_path: Path) -> None:
    good = small_medmnist(tmp_path)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "part.npz", "w") as target:
        for name in source.namelist():
            if name != "val_labels.npy":
                target.writestr(name, source.read(name))

    with pytest.raises(DataError, match="has no array val_labels"):
        import_medmnist(tmp_path / "part.npz", tmp_path / "out", spread=SPREAD)


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels must be in \[0, 0\], got 0 to 1"):
        import_medmnist(
            small_medmnist(tmp_path),
            tmp_path / "out",
            spread=SPREAD,
            finding=Finding(classes=("only",), positive="only"),
        )


@pytest.mark.skipif(not (SHARED_DATA / "breastmnist").is_dir(), reason="shared/data/breastmnist is not here")
def test_breastmnist_becomes_three_hospitals(tmp_path: Path) -> None:
    npz = SHARED_DATA / "breastmnist" / "breastmnist.npz"

    summary = import_medmnist(npz, tmp_path / "out", spread=SPREAD)

    # 546 + 78 images, one of them also in the test; 42 of 156 test images are malignant (SOURCE.md).
    assert sum(site.num_images for site in summary.sites) == 623
    assert (summary.public_test.num_images, summary.public_test.prevalence) == (156, 0.2692)
    assert summary.public_test.modality == "US"
