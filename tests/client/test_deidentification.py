"""What passes de-identification, what is held back, and when two images are of one patient."""

import logging
import string
from dataclasses import fields, replace
from datetime import date
from hashlib import sha256
from hmac import new as hmac_of
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.reading.source_images import FACTS, prepared

from fed_client.deidentification import (
    MAX_SHIFT_DAYS,
    DeidentifiedImage,
    SuspectedFaceError,
    SuspectedTextError,
    deidentify,
    normalise,
)
from fed_client.images import ImageFacts
from fed_common.errors import ConfigError, PrivacyError, UnreadableImageError

KEY = bytes(range(32))
CANARY = "CANARY7341"
KEPT = {
    *(
        "grey_CHW",
        "patient",
        "study",
        "series",
        "instance",
        "pixels",
        "study_day",
        "frame",
        "modality",
        "view",
    ),
    *("body_part", "photometric", "transfer_syntax", "rows", "columns", "bits_stored", "codes"),
}


def deidentified(key: bytes = KEY, **facts: Any) -> DeidentifiedImage:
    return deidentify(prepared(**facts), key)


def everything(image: DeidentifiedImage) -> str:
    return repr({field.name: getattr(image, field.name) for field in fields(image)})


def test_only_the_kept_fields_pass() -> None:
    assert {field.name for field in fields(deidentified())} == KEPT


def test_no_text_of_a_file_passes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: dict[str, Any] = {
        field.name: CANARY for field in fields(ImageFacts) if isinstance(getattr(FACTS, field.name), str)
    }
    image = deidentified(**texts, codes=(CANARY, "SCT:233604007"))
    assert CANARY not in everything(image) + repr(image) + caplog.text
    assert image.codes == ("SCT:233604007",)


def test_known_words_stay() -> None:
    image = deidentified(view="PA", body_part="CHEST", modality="DX", transfer_syntax="rle")
    assert (image.view, image.body_part, image.modality, image.transfer_syntax) == (
        "PA",
        "CHEST",
        "DX",
        "rle",
    )


def test_the_pseudonym_is_a_keyed_digest_of_patient_and_issuer() -> None:
    image = deidentified(patient_id="Pat 7", issuer_of_patient_id="Ward")
    assert image.patient == hmac_of(KEY, b'["patient", "pat 7", "ward"]', sha256).hexdigest()


def test_another_key_makes_strangers_of_everything() -> None:
    ours, theirs = deidentified(), deidentified(key=bytes(32))
    for name in ("patient", "study", "series", "instance", "pixels", "study_day"):
        assert getattr(ours, name) != getattr(theirs, name)


@pytest.mark.parametrize(
    "spelling", ["pat 7", " PAT  7 ", "\uff30at\u30007"], ids=["case", "blanks", "full width"]
)
def test_spellings_of_one_id_are_one_patient(spelling: str) -> None:
    assert deidentified(patient_id=spelling).patient == deidentified(patient_id="Pat 7").patient


def test_the_issuer_tells_equal_ids_apart() -> None:
    assert deidentified(issuer_of_patient_id="A").patient != deidentified(issuer_of_patient_id="B").patient


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=string.printable + "\u00e4\u00df\u0130\uff21\u3000", max_size=12))
def test_a_normalised_id_is_its_own_normal_form(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_frames_of_a_file_are_different_pictures_of_one_patient() -> None:
    one, other = deidentified(frame=0), deidentified(frame=1)
    assert (one.patient == other.patient, one.instance == other.instance) == (True, False)


def test_the_same_pixels_are_recognised_under_another_patient() -> None:
    one, other = deidentified(patient_id="A"), deidentified(patient_id="B")
    assert (one.pixels == other.pixels, one.patient == other.patient) == (True, False)


def test_dates_keep_their_distances_and_nothing_else() -> None:
    first, later = deidentified(study_date="20200229"), deidentified(study_date="20200310")
    stranger = deidentified(patient_id="P2", study_date="20200229")
    assert first.study_day is not None and later.study_day is not None
    assert later.study_day - first.study_day == 10
    assert stranger.study_day != first.study_day != date(2020, 2, 29).toordinal()
    assert abs(first.study_day - date(2020, 2, 29).toordinal()) <= MAX_SHIFT_DAYS


@pytest.mark.parametrize("study_date", ["", "2020", "20200231", "2020-02-29", CANARY])
def test_what_is_no_date_is_none(study_date: str) -> None:
    assert deidentified(study_date=study_date).study_day is None


def test_without_a_patient_nobody_knows_whose_privacy_is_at_stake() -> None:
    with pytest.raises(UnreadableImageError, match="PatientID is missing"):
        deidentified(patient_id=" ")


def test_a_file_of_nobody_is_its_own_patient_only_if_allowed() -> None:
    frames = [prepared(patient_id=" ", num_frames=2, frame=number) for number in range(2)]
    one, two = (deidentify(frame, KEY, file_is_patient=True).patient for frame in frames)
    other = deidentify(prepared(patient_id="", sop_instance_uid="1.2.4"), KEY, file_is_patient=True)
    assert one == two != other.patient
    named = deidentify(prepared(patient_id="Pat 7"), KEY, file_is_patient=True)
    assert named.patient == deidentified(patient_id="Pat 7").patient
    # A patient whose ID is the UID of another's file is not that file.
    assert one != deidentified(patient_id="1.2.3").patient


def test_a_picture_without_a_header_takes_the_patient_of_its_list() -> None:
    listed = deidentify(prepared(patient_id=""), KEY, patient_id="Pat 7")
    assert listed.patient == deidentified(patient_id="pat 7").patient


def test_a_list_cannot_rename_a_patient() -> None:
    assert deidentify(prepared(), KEY, patient_id="other").patient == deidentified().patient


@pytest.mark.parametrize("text", ["suspected", "read"])
def test_text_in_the_pixels_keeps_the_picture_out(text: Any) -> None:
    with pytest.raises(SuspectedTextError, match="in the pixels"):
        deidentify(prepared(text=text), KEY)


@pytest.mark.parametrize(
    ("modality", "declared", "passes"),
    [
        *(("CR", declared, declared != "YES") for declared in ("", "NO", "YES")),
        *(("US", declared, declared == "NO") for declared in ("", "NO", "YES")),
        *(("SC", declared, declared == "NO") for declared in ("", "NO", "YES")),
    ],
)
def test_burned_in_text_is_suspected_by_class_and_declaration(
    modality: str, declared: str, passes: bool
) -> None:
    image = prepared(modality=modality, burned_in_annotation=declared)
    if passes:
        assert deidentify(image, KEY).modality == modality
    else:
        with pytest.raises(SuspectedTextError, match="burned-in"):
            deidentify(image, KEY)


@pytest.mark.parametrize(("modality", "part"), [("CT", "HEAD"), ("MR", "BRAIN"), ("PT", "SKULL")])
def test_a_volume_of_the_head_needs_an_attested_defacing(modality: str, part: str) -> None:
    image = prepared(modality=modality, body_part=part)
    with pytest.raises(SuspectedFaceError, match="head"):
        deidentify(image, KEY)
    assert deidentify(image, KEY, defacing_attested=True).body_part == part


def test_declared_faces_stay_out_whatever_is_attested() -> None:
    image = prepared(recognizable_features="YES")
    with pytest.raises(SuspectedFaceError, match="says the file"):
        deidentify(image, KEY, defacing_attested=True)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        deidentified(key=bytes(31))


def test_nobody_else_makes_a_deidentified_image() -> None:
    with pytest.raises(PrivacyError, match="only deidentify"):
        replace(deidentified(), seal=object())
