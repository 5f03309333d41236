"""A hospital's folder, good and bad, and the data set that comes of it."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.dicom_files import Pixels, image_dataset, write

from fed_client.dataset import SiteDataset, load_dataset, load_public_test
from fed_common.errors import ConfigError, DataError
from fed_common.task import Recipe, Task

KEY = bytes(range(32))
CANARY = "CANARY7341"
TASK = Task(name="chest", classes=("normal", "finding"), positive="finding", recipe=Recipe(size=4))


def pixels_of(number: int) -> Pixels:
    """Return 4 x 4 pixels that differ from those of any other number below 4093."""
    return (np.arange(1, 17) ** 2 * (number + 3) * 997 % 4093).astype(np.uint16).reshape(4, 4)


class Folder:
    """A hospital's folder in the making; images alternate between the two classes."""

    def __init__(self, root: Path) -> None:
        self.images = root / "images"
        self.labels = root / "labels.csv"
        self.rows = ["file,label"]

    def add(self, number: int, *, patient: str | None = None, name: str = "", **elements: object) -> Path:
        name = name or f"{number:03}.dcm"
        dataset = image_dataset(
            pixels_of(number), patient=patient or f"P{number}", SOPInstanceUID=f"1.2.{number}"
        )
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        self.rows.append(f"{name},{TASK.classes[number % 2]}")
        return write(self.images / name, dataset)

    def load(self, *, min_patients: int = 2, validation_fraction: float = 0.2) -> SiteDataset:
        self.labels.write_text("\n".join(self.rows))
        return load_dataset(
            self.images,
            self.labels,
            task=TASK,
            pseudonym_key=KEY,
            min_patients=min_patients,
            validation_fraction=validation_fraction,
        )


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
        for a, b in ((one.train, other.train), (one.validation, other.validation))
    )


def test_every_image_arrives_with_its_label_and_patient(folder: Folder) -> None:
    folder.add(10, patient="P1")
    train = folder.load(validation_fraction=0).train
    assert train.images_NCHW.shape == (11, 1, 4, 4)
    assert train.images_NCHW.dtype == torch.float32
    assert train.num_patients == 10
    assert set(train.patients_N.tolist()) == set(range(10))
    stored = pixels_of(7).astype(np.float64)
    wanted = (stored - stored.min()) / (stored.max() - stored.min())
    found = [np.allclose(image[0] * 0.25 + 0.5, wanted, atol=1e-5) for image in train.images_NCHW.numpy()]
    assert found.count(True) == 1
    assert train.labels_N[found.index(True)] == 1


def test_one_patients_labels_may_differ(folder: Folder) -> None:
    folder.add(10, patient="P1")
    train = folder.load(validation_fraction=0).train
    shared = int(train.patients_N.bincount().argmax())
    assert sorted(train.labels_N[train.patients_N == shared].tolist()) == [0, 1]


def test_no_patient_is_on_both_sides(folder: Folder) -> None:
    for number in range(10, 60):
        folder.add(number, patient=f" p{number % 10} ")
    dataset = folder.load(validation_fraction=0.5)
    assert dataset.train.num_patients + dataset.validation.num_patients == 10
    assert len(dataset.train.labels_N) + len(dataset.validation.labels_N) == 60
    assert dataset.validation.num_patients > 0


@settings(max_examples=15, deadline=None, derandomize=True)
@given(numbers=st.sets(st.integers(2, 40), min_size=1, max_size=12), fraction=st.floats(0.1, 0.6))
def test_nobody_changes_sides_when_images_are_added(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], fraction: float
) -> None:
    folder = Folder(tmp_path_factory.mktemp("site"))
    for number in range(4):
        folder.add(100 + number)
    before = folder.load(validation_fraction=fraction)
    for number in numbers:
        folder.add(number)
    after = folder.load(validation_fraction=fraction)
    for one, other in ((before.train, after.train), (before.validation, after.validation)):
        kept = {image.numpy().tobytes() for image in other.images_NCHW}
        assert {image.numpy().tobytes() for image in one.images_NCHW} <= kept


def test_the_split_has_about_the_wanted_share(folder: Folder) -> None:
    for number in range(10, 300):
        folder.add(number)
    # 300 draws at 0.2: 60 on average, standard deviation 6.9.
    assert 35 <= folder.load().validation.num_patients <= 85


def test_the_order_and_names_of_files_change_no_bit(folder: Folder, tmp_path: Path) -> None:
    renamed = Folder(tmp_path / "copy")
    for number in reversed(range(10)):
        renamed.add(number, name=f"ward/{9 - number}.dcm")
    ours, theirs = folder.load(), renamed.load()
    assert ours.digest == theirs.digest
    assert same_tensors(ours, theirs)


def test_the_digest_of_a_known_folder_is_the_same_in_every_release(folder: Folder) -> None:
    # The ledger knows a data set by its digest: another one would be a fresh privacy budget.
    folder.add(10, WindowCenter=2000, WindowWidth=3000)
    assert folder.load().digest == "4f3a65897554b6937fa6eb195b74276bfda9f0ad0d184acc78cfe90369cda1b2"


def test_a_pixel_a_label_or_the_split_changes_the_digest(folder: Folder) -> None:
    digests = {folder.load().digest, folder.load(validation_fraction=0.6).digest}
    folder.rows[4] = folder.rows[4].replace("normal", "finding").replace("003.dcm,finding", "003.dcm,normal")
    digests.add(folder.load().digest)
    write(folder.images / "000.dcm", image_dataset(pixels_of(0) + np.uint16(1), patient="P0"))
    digests.add(folder.load().digest)
    assert len(digests) == 4


def test_the_same_image_twice_is_used_once(folder: Folder) -> None:
    before = folder.load()
    folder.add(0, name="resent.dcm")
    folder.add(1, name="same_pixels.dcm", SOPInstanceUID="1.2.777")
    folder.add(2, name="same_identity.dcm", PixelData=pixels_of(777).tobytes())
    assert folder.load().digest == before.digest


def test_the_same_pixels_of_two_patients_are_two_images(folder: Folder) -> None:
    folder.add(0, patient="P77", name="other.dcm", SOPInstanceUID="1.2.777")
    assert folder.load(validation_fraction=0).train.num_patients == 11


def test_bad_files_are_counted_by_place_and_the_rest_goes_on(folder: Folder, tmp_path: Path) -> None:
    (folder.images / "004.dcm").write_bytes(b"rubbish")
    folder.add(10, PatientID="")
    folder.add(11, BurnedInAnnotation="YES")
    write(folder.images / "012.dcm", image_dataset())
    outside = write(tmp_path / "outside.dcm", image_dataset())
    (folder.images / "013.dcm").symlink_to(outside)
    folder.rows += ["013.dcm,normal", "014.dcm,normal", "../outside.dcm,normal", '"=HYPERLINK(1)",normal']
    dataset = folder.load(validation_fraction=0)
    assert len(dataset.train.labels_N) == 9
    assert [(bad.index, bad.reason.split(":")[0]) for bad in dataset.unreadable] == [
        (0, "the labels name it, but there is no such .dcm file"),
        (5, "damaged, or no DICOM file (InvalidDicomError)"),
        (11, "PatientID is missing"),
        (12, "suspected burned-in text"),
        (13, "the file has no label"),
        (14, "the file can't be opened (OSError)"),
        (15, "the labels name it, but there is no such .dcm file"),
        (16, "the labels name it, but there is no such .dcm file"),
    ]


def test_a_byte_order_mark_and_a_repeated_row_change_nothing(folder: Folder) -> None:
    before = folder.load()
    folder.rows[0] = "\ufeff" + folder.rows[0]
    folder.rows.append(folder.rows[3])
    assert folder.load().digest == before.digest


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["name,label"], "the first line must name the columns file and label"),
        ([""], "the first line must name the columns file and label"),
        (["file,label", f"000.dcm,{CANARY}"], "line 2 needs a file and one of normal, finding"),
        (["file,label", "000.dcm,normal", "001.dcm,=1+1"], "line 3 needs a file and one of normal, finding"),
        (["file,label", "000.dcm"], "line 2 needs a file and one of normal, finding"),
        (["file,label", ",normal"], "line 2 needs a file and one of normal, finding"),
        (["file,label", "0.dcm,normal", "0.dcm,finding"], "line 3 contradicts an earlier label of its file"),
        (["file,label", '0.dcm,"' + "x" * 200_000 + '"'], "no CSV file in UTF-8"),
    ],
)
def test_wrong_labels_stop_everything_with_one_line(folder: Folder, rows: list[str], reason: str) -> None:
    folder.rows = rows
    with pytest.raises(DataError) as caught:
        folder.load()
    assert str(caught.value) == f"{folder.labels}: {reason}" + (" (Error)" if "CSV" in reason else "")


def test_missing_labels_and_other_encodings_are_named(folder: Folder) -> None:
    with pytest.raises(DataError, match="can't be read"):
        load_dataset(folder.images, folder.labels, task=TASK, pseudonym_key=KEY, min_patients=1)
    folder.labels.write_bytes("file,label\nä.dcm,normal".encode("utf-16"))
    with pytest.raises(DataError, match="no CSV file in UTF-8"):
        load_dataset(folder.images, folder.labels, task=TASK, pseudonym_key=KEY, min_patients=1)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no \.dcm file"):
        Folder(tmp_path).load()


def test_too_few_patients_are_refused_however_many_images(folder: Folder) -> None:
    folder.add(10, patient="P1")
    with pytest.raises(DataError, match="at least 11 patients with a usable image are needed, got 10"):
        folder.load(min_patients=11)


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(0, 10, 2):
        folder.add(number)
    with pytest.raises(DataError, match="there is none of finding"):
        folder.load()


def test_a_split_without_training_patients_is_refused(folder: Folder) -> None:
    with pytest.raises(DataError, match="all 10 patients fell to validation"):
        folder.load(validation_fraction=1 - 1e-9)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(folder: Folder, fraction: float) -> None:
    with pytest.raises(ConfigError, match="validation_fraction must be in"):
        folder.load(validation_fraction=fraction)


def test_no_planted_text_leaves(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    planted = {"PatientName": CANARY, "Modality": CANARY, "ImageComments": CANARY}
    folder.add(11, patient=CANARY, name=f"{CANARY}.dcm", **planted)
    folder.add(12, patient=CANARY, name=f"{CANARY}/broken.dcm", PhotometricInterpretation=CANARY, **planted)
    folder.add(13, patient=CANARY, name=f"{CANARY}/text.dcm", BurnedInAnnotation="YES", **planted)
    (folder.images / f"{CANARY}.unlabelled.dcm").write_bytes(CANARY.encode() * 50)
    dataset = folder.load()
    assert len(dataset.unreadable) == 3
    assert CANARY not in repr(dataset) + repr(vars(dataset)) + caplog.text


def test_progress_is_told_for_every_file(folder: Folder) -> None:
    (folder.images / "004.dcm").write_bytes(b"rubbish")
    folder.load()
    heard: list[tuple[int, int]] = []
    load_dataset(
        folder.images,
        folder.labels,
        task=TASK,
        pseudonym_key=KEY,
        min_patients=2,
        on_image=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(number, 10) for number in range(1, 11)]


def test_a_public_set_is_read_whole(folder: Folder) -> None:
    folder.load()
    public = load_public_test(folder.images.parent, TASK)
    assert (len(public.labels_N), int(public.patients_N.max())) == (10, 9)


def test_a_public_set_with_a_bad_file_is_refused(folder: Folder) -> None:
    folder.load()
    (folder.images / "004.dcm").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="1 test files can't be used; number 4: damaged"):
        load_public_test(folder.images.parent, TASK)
