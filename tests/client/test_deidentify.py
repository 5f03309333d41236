"""What passes de-identification, what is held back, and when two images are of one patient."""

import logging
import string
from dataclasses import fields, replace
from hashlib import sha256
from hmac import new as hmac_of
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from tests.client.dicom_files import RAMP, image_dataset, write

from fed_client.deidentify import DeidentifiedImage, SuspectedTextError, deidentify, normalise
from fed_client.dicom import read_image
from fed_common.errors import ConfigError, PrivacyError, UnreadableImageError

KEY = bytes(range(32))
CANARY = "CANARY7341"


def deidentified(tmp_path: Path, dataset: Dataset, key: bytes = KEY) -> DeidentifiedImage:
    return deidentify(read_image(write(tmp_path / "image.dcm", dataset)), key)


def test_only_the_kept_fields_pass(tmp_path: Path) -> None:
    image = deidentified(tmp_path, image_dataset(patient=CANARY, WindowCenter=5, WindowWidth=4))
    kept = {"pixels", "inverted", "window", "modality", "patient", "instance", "content"}
    assert {field.name for field in fields(image)} == kept
    assert np.array_equal(image.pixels, RAMP)
    assert image.modality == "CR"


def test_no_planted_text_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = image_dataset(
        patient=CANARY, PatientName=CANARY, Modality=CANARY, IssuerOfPatientID=CANARY, ImageComments=CANARY
    )
    dataset.add_new(0x00091001, "LO", CANARY)
    image = deidentified(tmp_path, dataset)
    assert CANARY not in repr(image) + repr(vars(image)) + caplog.text
    assert dataset.SOPInstanceUID not in repr(vars(image))


def test_the_pseudonym_is_a_keyed_digest_of_patient_and_issuer(tmp_path: Path) -> None:
    image = deidentified(tmp_path, image_dataset(patient="Pat 7", IssuerOfPatientID="Ward"))
    assert image.patient == hmac_of(KEY, b'["patient", "pat 7", "ward"]', sha256).hexdigest()


def test_another_key_makes_strangers_of_everything(tmp_path: Path) -> None:
    dataset = image_dataset()
    ours, theirs = deidentified(tmp_path, dataset), deidentified(tmp_path, dataset, key=bytes(32))
    assert ours.patient != theirs.patient
    assert ours.instance != theirs.instance
    assert ours.content != theirs.content


def test_issuer_and_patient_are_not_run_together(tmp_path: Path) -> None:
    one = deidentified(tmp_path, image_dataset(patient="12", IssuerOfPatientID="3"))
    other = deidentified(tmp_path, image_dataset(patient="1", IssuerOfPatientID="23"))
    assert one.patient != other.patient


@pytest.mark.parametrize("spelling", ["müller-1", " MÜLLER-1 ", "Mu\u0308ller-1", "\uff2dÜLLER-1"])
def test_spellings_of_one_identifier_are_one_patient(tmp_path: Path, spelling: str) -> None:
    image = deidentified(tmp_path, image_dataset(patient=spelling, SpecificCharacterSet="ISO_IR 192"))
    same = deidentified(tmp_path, image_dataset(patient="Müller-1", SpecificCharacterSet="ISO_IR 192"))
    assert image.patient == same.patient


words = st.lists(st.text(string.ascii_letters + string.digits + "-äöüßéΣ", min_size=1), min_size=1)


@settings(deadline=None, derandomize=True)
@given(words=words, gaps=st.lists(st.sampled_from([" ", "  ", "\t", "\u00a0", "\u3000"]), min_size=5))
def test_case_and_white_space_never_split_a_patient(words: list[str], gaps: list[str]) -> None:
    spaced = gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=False))
    assert normalise(spaced.upper()) == normalise(" ".join(words[: len(gaps) - 1]))


@settings(deadline=None, derandomize=True)
@given(text=st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None, derandomize=True)
@given(one=st.text(string.digits), other=st.text(string.digits))
def test_different_numbers_stay_different_patients(one: str, other: str) -> None:
    assert (normalise(one) == normalise(other)) == (one == other)


@pytest.mark.parametrize("patient", [None, "", "  ", "\u00a0"])
def test_an_image_of_nobody_is_refused(tmp_path: Path, patient: str | None) -> None:
    dataset = image_dataset(RAMP, SpecificCharacterSet="ISO_IR 192", PatientID=patient)
    with pytest.raises(UnreadableImageError, match="PatientID is missing"):
        deidentified(tmp_path, dataset)


@pytest.mark.parametrize(
    "elements",
    [
        {"BurnedInAnnotation": "YES"},
        {"BurnedInAnnotation": "yes "},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"},
        {"SOPClassUID": uid.UltrasoundImageStorage},
    ],
)
def test_images_that_may_show_a_name_are_held_back(tmp_path: Path, elements: dict[str, str]) -> None:
    with pytest.raises(SuspectedTextError, match="suspected burned-in text"):
        deidentified(tmp_path, image_dataset(RAMP, **elements))


def test_ultrasound_declared_free_of_text_passes(tmp_path: Path) -> None:
    dataset = image_dataset(SOPClassUID=uid.UltrasoundImageStorage, BurnedInAnnotation="NO")
    assert deidentified(tmp_path, dataset).modality == "US"


def test_content_follows_patient_pixels_and_look_but_not_the_file(tmp_path: Path) -> None:
    brighter = RAMP + np.uint16(1)
    same = [deidentified(tmp_path, image_dataset()).content for _ in range(2)]
    others = [
        deidentified(tmp_path, dataset).content
        for dataset in (
            image_dataset(patient="P2"),
            image_dataset(brighter),
            image_dataset(RAMP.reshape(4, 3)),
            image_dataset(photometric="MONOCHROME1"),
            image_dataset(WindowCenter=1, WindowWidth=2),
        )
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 6


def test_nobody_else_can_make_a_deidentified_image(tmp_path: Path) -> None:
    image = deidentified(tmp_path, image_dataset())
    with pytest.raises(PrivacyError, match=r"only deidentify\(\)"):
        replace(image, modality="CT", seal=object())


def test_a_guessable_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes, got 3"):
        deidentified(tmp_path, image_dataset(), key=b"key")
