"""What makes hospitals differ reaches their files, and the picture of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from fed_common.errors import ConfigError, DataError
from fed_sim.hospitals import FederationSummary
from fed_sim.imports import ArraySource, import_array, import_medmnist
from fed_sim.partition import ConceptShifted, Natural, Partition, ScannerShifted, Spread
from fed_sim.partition.picture import draw_partition, save_partition
from fed_sim.pictures import PictureSource, import_pictures

NUM_IMAGES = 40


def imported(folder: Path, partition: Partition, *, sites: int = 2) -> FederationSummary:
    """Deal out one image each of 40 patients, a ramp of greys that is brighter from patient to patient."""
    ramp = np.arange(0, 64, dtype=np.uint8).repeat(64).reshape(64, 64)
    np.savez(folder / "images.npz", images=np.stack([ramp + 2 * row for row in range(NUM_IMAGES)]))
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "tumour", "site"))
        writer.writerows((f"p{row}", row % 2, "north" if row < 30 else "south") for row in range(NUM_IMAGES))
    source = ArraySource(images=folder / "images.npz", index=folder / "index.csv", label_column="tumour")
    spread = Spread(sites=sites, partition=partition, seed=1)
    return import_array(source, folder / "out", spread=spread, test_fraction=0.1)


def pixels(site: Path) -> dict[str, np.ndarray]:
    return {path.name: pydicom.dcmread(path).pixel_array for path in site.rglob("*.dcm")}


def test_natural_sites_are_hospitals_however_many_are_asked_for(tmp_path: Path) -> None:
    summary = imported(tmp_path, Natural(), sites=9)

    assert len(summary.sites) == 2
    assert sum(site.num_patients for site in summary.sites) == 36
    assert summary.sites[0].num_patients > 2 * summary.sites[1].num_patients


def test_the_first_hospitals_scanner_changes_nothing_and_the_lasts_does(tmp_path: Path) -> None:
    imported(tmp_path, ScannerShifted(strength=1.0))

    spreads = [
        np.mean(
            [np.diff(image.astype(float), axis=1).std() for image in pixels(tmp_path / "out" / name).values()]
        )
        for name in ("hospital-1", "hospital-2", "public-test")
    ]
    # The ramp is level along its rows; noise alone makes differences there.
    assert spreads[0] == 0
    assert spreads[1] > 10
    assert 0 < spreads[2] < spreads[1]  # the public test has pictures of both scanners


def test_a_stricter_hospital_calls_fewer_positive_and_the_test_keeps_the_sources_labels(
    tmp_path: Path,
) -> None:
    (tmp_path / "shifted").mkdir()
    (tmp_path / "plain").mkdir()
    shifted = imported(tmp_path / "shifted", ConceptShifted(share=0.5))
    plain = imported(tmp_path / "plain", ScannerShifted(strength=0.1))

    first, last = plain.sites
    assert [site.classes["tumour"] for site in shifted.sites] == [
        first.classes["tumour"],
        last.classes["tumour"] - round(last.classes["tumour"] / 2),
    ]
    assert shifted.public_test.classes == plain.public_test.classes


def test_the_picture_and_the_summary_count_every_patient(tmp_path: Path) -> None:
    summary = imported(tmp_path, Natural())
    drawn = draw_partition(summary)
    save_partition(summary, tmp_path / "partition.png")

    told = json.loads((tmp_path / "out" / "federation.json").read_text())["sites"]
    for site, row in zip(summary.sites, told, strict=True):
        assert sum(row["classes"].values()) == site.num_patients
        assert all(f">{count}</text>" in drawn for count in row["classes"].values())
    with Image.open(tmp_path / "partition.png") as picture:
        assert picture.size[0] > 300


def pictures(folder: Path) -> PictureSource:
    (folder / "pictures").mkdir()
    rows = [(f"{row}.png", ("cat", "dog", "eel")[row % 3], f"town-{row % 2}") for row in range(24)]
    for file, _, _ in rows:
        grey = np.random.default_rng(len(file)).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(grey + int(file[:-4])).save(folder / "pictures" / file)
    with (folder / "index.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("file", "label", "site"), *rows])
    return PictureSource(folder=folder / "pictures", index=folder / "index.csv", classes=("eel", "cat"))


def test_of_pictures_only_the_named_classes_are_dealt_out_by_site(tmp_path: Path) -> None:
    spread = Spread(sites=1, partition=Natural(), seed=1)
    summary = import_pictures(pictures(tmp_path), tmp_path / "out", spread=spread, test_fraction=0)

    assert [dict(site.classes) for site in summary.sites] == [{"cat": 4, "eel": 4}] * 2
    assert [site.prevalence for site in summary.sites] == [0.5, 0.5]


def test_what_a_source_can_not_give_is_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path)
    for partition in (ScannerShifted(strength=1), ConceptShifted(share=1)):
        with pytest.raises(ConfigError, match="takes an array"):
            import_pictures(source, tmp_path / "out", spread=Spread(sites=2, partition=partition, seed=1))
    with pytest.raises(ConfigError, match="names no sites"):
        import_medmnist(
            tmp_path / "x.npz", tmp_path / "out", spread=Spread(sites=2, partition=Natural(), seed=1)
        )
    unknown = PictureSource(folder=source.folder, index=source.index, classes=("cat", "fox"))
    with pytest.raises(DataError, match="of each that is named"):
        import_pictures(unknown, tmp_path / "out", spread=Spread(sites=2, seed=1))
