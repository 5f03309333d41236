"""A hospital's folder, good and bad, and the versions that come of it."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.client.dataset.folders import KEYS, TASK, Folder, pixels_of, reasons_of
from tests.client.dicom_files import image_dataset, write

from fed_client.dataset import SiteDataset
from fed_client.dataset.draft import OF_TWO_PATIENTS, SAME_INSTANCE, SAME_PIXELS
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version, latest_version, list_versions
from fed_common.errors import ConfigError, DataError, MachineError

CANARY = "CANARY7341"
ALL = Fractions(validation=0, test=0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "site")
    for number in range(10):
        folder.add(number)
    return folder


def same_tensors(one: SiteDataset, other: SiteDataset) -> bool:
    return all(
        torch.equal(a.images_NCHW, b.images_NCHW)
        and torch.equal(a.labels_N, b.labels_N)
        and torch.equal(a.patients_N, b.patients_N)
        for a, b in ((one.train, other.train), (one.validation, other.validation), (one.test, other.test))
    )


def test_every_image_arrives_with_its_label_and_patient(folder: Folder) -> None:
    folder.add(10, patient="P1")
    train = folder.load(fractions=ALL).train
    assert (train.images_NCHW.shape, train.num_patients) == ((11, 1, 16, 16), 10)
    assert set(train.patients_N.tolist()) == set(range(10))
    stored = pixels_of(7).astype(np.float64)
    wanted = (stored - stored.min()) / (stored.max() - stored.min())
    numbers = train.batch(torch.arange(11)).numpy()
    found = [np.allclose(image[0] * 0.25 + 0.5, wanted, atol=2e-5) for image in numbers]
    assert found.count(True) == 1
    assert train.labels_N[found.index(True)] == 1


def test_images_of_a_patient_stand_together(folder: Folder) -> None:
    for number in range(10, 40):
        folder.add(number, patient=f"P{number % 10}")
    patients = folder.load().train.patients_N.tolist()
    assert patients == sorted(patients)


def test_one_patients_labels_may_differ(folder: Folder) -> None:
    folder.add(10, patient="P1")
    train = folder.load(fractions=ALL).train
    shared = int(train.patients_N.bincount().argmax())
    assert sorted(train.labels_N[train.patients_N == shared].tolist()) == [0, 1]


def test_no_patient_is_on_two_sides(folder: Folder) -> None:
    for number in range(10, 60):
        folder.add(number, patient=f" p{number % 10} ")
    sides = folder.register(fractions=Fractions(validation=0.4, test=0.3)).manifest.sides
    assert sum(side.patients for side in sides) == 10
    assert sum(side.images for side in sides) == 60
    assert all(side.patients > 0 for side in sides)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(numbers=st.sets(st.integers(2, 40), min_size=1, max_size=12), share=st.floats(0.1, 0.4))
def test_nobody_changes_sides_when_images_are_added(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], share: float
) -> None:
    folder = Folder(tmp_path_factory.mktemp("site"))
    for number in range(100, 108):
        folder.add(number)
    fractions = Fractions(validation=share, test=share)
    before = folder.load(fractions=fractions)
    for number in numbers:
        folder.add(number)
    after = folder.load(fractions=fractions)
    for side in ("train", "validation", "test"):
        images = {image.numpy().tobytes() for image in getattr(before, side).images_NCHW}
        assert images <= {image.numpy().tobytes() for image in getattr(after, side).images_NCHW}


def test_the_order_and_names_of_files_change_no_bit(folder: Folder, tmp_path: Path) -> None:
    renamed = Folder(tmp_path / "copy")
    for number in reversed(range(10)):
        renamed.add(number, name=f"ward/{9 - number}.dcm")
    ours, theirs = folder.register(), renamed.register()
    assert ours.manifest.contents == theirs.manifest.contents
    assert same_tensors(
        open_dataset(ours, TASK, site_secret=KEYS.secret), open_dataset(theirs, TASK, site_secret=KEYS.secret)
    )


def test_a_pixel_a_label_or_the_split_changes_the_contents(folder: Folder) -> None:
    contents = [folder.register().manifest.contents]
    contents.append(folder.register(fractions=Fractions(validation=0.6, test=0)).manifest.contents)
    folder.rows[4] = folder.rows[4].replace("finding", "normal")
    contents.append(folder.register().manifest.contents)
    write(folder.images / "000.dcm", image_dataset(pixels_of(500), patient="P0"))
    contents.append(folder.register().manifest.contents)
    assert len(set(contents)) == 4


def test_copies_are_left_out_and_counted(folder: Folder) -> None:
    before = folder.register()
    folder.add(0, name="resent.dcm", label="normal")
    folder.add(1, name="same_pixels.dcm", SOPInstanceUID="1.2.777")
    folder.add(2, name="same_identity.dcm", PixelData=pixels_of(777).tobytes())
    after = folder.register()
    assert after.manifest.duplicates.same_instance == 2
    assert after.manifest.duplicates.same_pixels == 1
    assert reasons_of(after) == {SAME_INSTANCE: 2, SAME_PIXELS: 1}
    assert after.manifest.images == before.manifest.images == 10


def test_an_image_of_two_patients_stays_at_one_whoever_comes_first(folder: Folder, tmp_path: Path) -> None:
    folder.add(0, patient="P77", name="other.dcm", SOPInstanceUID="1.2.777")
    reversed_folder = Folder(tmp_path / "reversed")
    reversed_folder.add(0, patient="P77", name="000.dcm", SOPInstanceUID="1.2.777")
    reversed_folder.add(0, name="zzz.dcm")
    for number in range(1, 10):
        reversed_folder.add(number)
    one, other = folder.register(), reversed_folder.register()
    assert one.manifest.contents == other.manifest.contents
    assert (one.manifest.images, one.manifest.duplicates.of_two_patients) == (10, 1)
    assert reasons_of(one) == {OF_TWO_PATIENTS: 1}


def test_bad_files_are_counted_by_reason_and_the_rest_goes_on(folder: Folder, tmp_path: Path) -> None:
    (folder.images / "004.dcm").write_bytes(b"rubbish")
    folder.add(10, PatientID="")
    folder.add(11, BurnedInAnnotation="YES")
    write(folder.images / "012.dcm", image_dataset())
    outside = write(tmp_path / "outside.dcm", image_dataset())
    (folder.images / "013.dcm").symlink_to(outside)
    folder.rows += ["013.dcm,normal", "014.dcm,normal", "../outside.dcm,normal", "001.dcm,finding"]
    folder.rows[4] = folder.rows[4].replace("finding", "tumour")
    version = folder.register(fractions=ALL)
    assert version.manifest.images == 8
    assert reasons_of(version) == {
        "PatientID is missing: the patient unit is undefined": 1,
        "burned-in text, says the file": 1,
        "damaged, or no DICOM file (InvalidDicomError)": 1,
        "its label can't be used": 1,
        "the file is a link, can't be read, or changed while it was read": 1,
        "there is no label for it": 1,
    }
    problems = {problem.name: problem.count for problem in version.manifest.label_problems}
    assert problems["there is no such image"] == 2
    assert problems["label must be of normal, finding"] == 1


def test_files_are_found_by_ending_or_magic_and_nothing_else_is_touched(folder: Folder) -> None:
    folder.add(10, name="ward/WITHOUT_ENDING")
    for name in ("notes.txt", "DICOMDIR", ".hidden.dcm", "no_magic"):
        (folder.images / name).write_bytes(b"\0" * 200)
    version = folder.register()
    assert (version.manifest.files, version.manifest.images) == (11, 11)


def test_images_of_other_kinds_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = Folder(tmp_path, task=replace(TASK, modalities=("CR",), views=("PA",)))
    for number in range(6):
        folder.add(number, ViewPosition="PA" if number < 4 else "LL")
    folder.add(6)
    version = folder.register()
    assert version.manifest.images == 4
    assert reasons_of(version) == {"another view than the task's, or none stated": 3}


def test_adding_reads_only_what_is_new_or_changed(folder: Folder) -> None:
    first = folder.register()
    folder.add(10)
    write(folder.images / "003.dcm", image_dataset(pixels_of(503), patient="P3", SOPInstanceUID="1.2.3"))
    second = folder.register()
    assert sorted(path.name for path in folder.reader.paths) == ["003.dcm", "010.dcm"]
    assert second.manifest.predecessor == first.digest
    fresh = Folder(folder.images.parent)
    fresh.rows, fresh.datasets = folder.rows, folder.datasets.with_name("fresh")
    anew = fresh.register()
    assert len(fresh.reader.paths) == 11
    assert second.manifest.contents == anew.manifest.contents
    assert same_tensors(
        open_dataset(second, TASK, site_secret=KEYS.secret), open_dataset(anew, TASK, site_secret=KEYS.secret)
    )


def test_the_same_again_is_no_new_version(folder: Folder) -> None:
    first = folder.register()
    assert folder.register().digest == first.digest
    assert folder.reader.paths == []
    assert list_versions(folder.datasets) == [1]


def test_a_changed_label_needs_no_reading_but_is_a_new_version(folder: Folder) -> None:
    folder.register()
    folder.rows[4] = folder.rows[4].replace("finding", "normal")
    version = folder.register(fractions=ALL)
    assert folder.reader.paths == []
    assert version.manifest.version == 2
    assert version.manifest.sides[0].classes[0].images == 6


def test_another_recipe_reads_everything_again(folder: Folder) -> None:
    folder.register()
    folder.task = replace(TASK, recipe=replace(TASK.recipe, size=20))
    version = folder.register()
    assert len(folder.reader.paths) == 10
    assert version.manifest.row_bytes == 2 * 20 * 20


def test_a_crash_leaves_the_last_version_and_nothing_half(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = folder.register()
    folder.add(10)

    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fed_client.dataset.writing.write_sealed", full_disk)
    with pytest.raises(MachineError, match="No space left"):
        folder.register()
    left = latest_version(folder.datasets, KEYS.identity.verifying_key)
    assert left is not None and left.digest == first.digest
    assert sorted(path.name for path in folder.datasets.iterdir()) == ["lock", "v0001"]


def test_too_few_patients_are_refused_with_what_was_left_out(folder: Folder) -> None:
    folder.add(10, patient="P1")
    folder.add(11, PatientID="")
    with pytest.raises(
        DataError, match=r"at least 11 patients .* got 10; left out: 1 x 'PatientID is missing"
    ):
        folder.register(min_patients=11)
    assert list_versions(folder.datasets) == []


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(0, 10, 2):
        folder.add(number)
    with pytest.raises(DataError, match="there is none of finding"):
        folder.register()


def test_a_split_without_training_patients_is_refused(folder: Folder) -> None:
    with pytest.raises(DataError, match="all 10 patients fell to validation or test"):
        folder.register(fractions=Fractions(validation=1 - 1e-9, test=0))


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0), (1, 0), (0, float("nan")), (0.5, 0.5)])
def test_shares_that_leave_nothing_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ConfigError, match="_fraction must"):
        Fractions(validation=validation, test=test)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.images.mkdir()
    with pytest.raises(DataError, match="there is no image file"):
        folder.register()


def test_no_planted_text_leaves(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    planted = {
        "PatientName": CANARY,
        "BodyPartExamined": CANARY,
        "ImageComments": CANARY,
        "ViewPosition": CANARY,
    }
    folder.add(11, patient=CANARY, name=f"{CANARY}.dcm", **planted)
    folder.add(12, patient=CANARY, name=f"{CANARY}/broken.dcm", PhotometricInterpretation=CANARY, **planted)
    folder.add(13, patient=CANARY, name=f"{CANARY}/text.dcm", BurnedInAnnotation="YES", **planted)
    version = folder.register()
    assert sum(reasons_of(version).values()) == 2
    assert CANARY not in repr(version) + caplog.text
    on_disk = b"".join(path.read_bytes() for path in version.path.iterdir())
    assert CANARY.encode() not in on_disk and CANARY.casefold().encode() not in on_disk


def test_only_the_owner_can_read_what_is_written(folder: Folder) -> None:
    version = folder.register()
    assert {path.name: path.stat().st_mode & 0o077 for path in version.path.iterdir()} == {
        "images": 0,
        "table": 0,
        "names": 0,
        "manifest.json": 0,
    }


def test_progress_is_told_up_to_the_last_file(folder: Folder) -> None:
    heard: list[tuple[int, int]] = []
    folder.register(on_image=lambda done, total: heard.append((done, total)))
    assert heard == [(number, 10) for number in range(1, 11)]


def split_of(version: Version) -> tuple[int, int, int, int]:
    counts = version.manifest.source_split
    assert counts is not None
    return (
        counts.patients,
        counts.patients_on_several,
        counts.duplicate_groups,
        counts.duplicate_groups_on_several,
    )


def test_a_source_split_that_leaks_is_counted(folder: Folder) -> None:
    folder.add(10, patient="P1")
    folder.add(2, name="copy.dcm", SOPInstanceUID="1.2.777")
    folder.add(3, name="other.dcm", SOPInstanceUID="1.2.778")
    folder.rows = [
        row + ("," + ("test" if ".dcm" in row and row < "002" else "train")) for row in folder.rows
    ]
    folder.rows[0] = "file,label,split"
    folder.rows[-2] = folder.rows[-2].replace("train", "test")
    # P1 is in test (001) and train (010), P2 in train (002) and test (copy.dcm).
    assert split_of(folder.register()) == (10, 2, 2, 1)


def test_pictures_take_their_patient_from_the_list(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.images.mkdir(parents=True)
    folder.rows = ["file,label,patient"]
    for number in range(6):
        Image.fromarray((pixels_of(number) // 16).astype(np.uint8)).save(folder.images / f"{number}.png")
        folder.rows.append(
            f"{number}.png,{TASK.classes[number % 2]},{'' if number == 5 else f'P{number % 3}'}"
        )
    version = folder.register(fractions=ALL)
    assert (version.manifest.images, version.manifest.patients) == (5, 3)
    assert reasons_of(version) == {"PatientID is missing: the patient unit is undefined": 1}
    folder.rows[1] = folder.rows[1].replace("P0", "P9")
    assert folder.register(fractions=ALL).manifest.patients == 4
