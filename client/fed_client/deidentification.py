"""Keeps of a picture what training needs, and a pseudonym in place of the patient; nothing else passes.

The keep-list, after the Basic Profile of DICOM PS3.15 annex E with the options "clean pixel data" (by leaving
out) and "retain longitudinal temporal information with modified dates"; what isn't in it is removed (X):

    pixels                           by the recipe; text in them keeps the picture out            C
    PatientID and its issuer         one pseudonym: keyed digest                                  Z
    study, series, instance UID      keyed digests                                                U
    StudyDate                        a day number, shifted by a secret number of days per patient C
    view, body part, class, layout   only words and numbers of closed lists                       K
    coded findings                   only SCHEME:VALUE                                            K

Its constructor wants a seal that only this module holds, so `deidentify` is the only door. What comes from
the reading process is checked again here: a file may have taken that process over.
"""

import hmac
import json
import re
import unicodedata
from dataclasses import InitVar, dataclass
from datetime import date
from typing import NewType

import numpy as np
from numpy.typing import NDArray

from fed_client.images import ImageFacts, PreparedImage
from fed_client.reading.anatomy import BODY_PARTS, HEAD
from fed_client.reading.bounds import MAX_CODES
from fed_client.reading.terms import MODALITIES, PHOTOMETRICS, RASTER_SYNTAXES, SYNTAX_NAMES, VIEWS
from fed_common.errors import ConfigError, PrivacyError, UnreadableImageError
from fed_common.names import Digest
from fed_common.task import CODE

Pseudonym = NewType("Pseudonym", str)

MIN_KEY_BYTES = 32
# Dates move by up to so many days, back or forth: no holiday and no epidemic shows through.
MAX_SHIFT_DAYS = 3650

# A face can be rendered from a volume of the head (T19 in the threat model).
_VOLUMES = frozenset({"CT", "MR", "PT"})
_SYNTAXES = frozenset(SYNTAX_NAMES.values()) | RASTER_SYNTAXES

_SEAL = object()


class SuspectedTextError(UnreadableImageError):
    """The pixels may show the patient's name; the image is kept out until a person has looked."""


class SuspectedFaceError(UnreadableImageError):
    """The pixels may show the patient's face; it is kept out until somebody attests that they don't."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class DeidentifiedImage:
    """A picture without a person: (C, H, W), 0 black, 65535 white.

    `instance` and `pixels` tell pictures apart: the first by the file's own identity and frame, the second by
    the stored pixels, whoever's they are. All digests are keyed, so they say nothing outside the hospital.
    `study_day` keeps the distances between one patient's dates, and nothing else of them.
    """

    grey_CHW: NDArray[np.uint16]
    patient: Pseudonym
    study: Digest
    series: Digest
    instance: Digest
    pixels: Digest
    study_day: int | None
    frame: int
    modality: str
    view: str
    body_part: str
    photometric: str
    transfer_syntax: str
    rows: int
    columns: int
    bits_stored: int
    codes: tuple[str, ...]
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise PrivacyError("only deidentify() makes a DeidentifiedImage")


def deidentify(
    image: PreparedImage,
    key: bytes,
    *,
    patient_id: str | None = None,
    file_is_patient: bool = False,
    defacing_attested: bool = False,
) -> DeidentifiedImage:
    """Return `image` under a pseudonym made with the site's secret `key`.

    `patient_id` stands in where the file names nobody, as pictures without a header do. If nobody is named
    there either, `file_is_patient` takes each file for another patient. `defacing_attested` is the data
    steward's word that volumes of heads show no face.

    Raises:
        UnreadableImageError: there is no PatientID, so nobody knows whose privacy is at stake.
        SuspectedTextError: the pixels may show text about the patient.
        SuspectedFaceError: the pixels may show the patient's face.
        ConfigError: the key is too short to keep a pseudonym from being guessed.
    """
    facts = image.facts
    _refuse_suspected_text(image)
    _refuse_suspected_face(facts, attested=defacing_attested)
    named = normalise(facts.patient_id) or normalise(patient_id or "")
    if named:
        patient = Pseudonym(keyed_digest(key, "patient", named, normalise(facts.issuer_of_patient_id)))
    elif file_is_patient:
        patient = Pseudonym(keyed_digest(key, "file as patient", facts.sop_instance_uid))
    else:
        raise UnreadableImageError("PatientID is missing: the patient unit is undefined")
    return DeidentifiedImage(
        grey_CHW=image.grey_CHW,
        patient=patient,
        study=keyed_digest(key, "study", facts.study_instance_uid),
        series=keyed_digest(key, "series", facts.series_instance_uid),
        instance=keyed_digest(key, "instance", facts.sop_instance_uid, str(facts.frame)),
        pixels=keyed_digest(key, "pixels", facts.pixels),
        study_day=_shifted_day(facts.study_date, patient, key),
        frame=facts.frame,
        modality=_known(facts.modality, MODALITIES),
        view=_known(facts.view, VIEWS),
        body_part=_known(facts.body_part, BODY_PARTS),
        photometric=_known(facts.photometric, PHOTOMETRICS),
        transfer_syntax=_known(facts.transfer_syntax, _SYNTAXES),
        rows=facts.rows,
        columns=facts.columns,
        bits_stored=facts.bits_stored,
        codes=tuple(code for code in facts.codes[:MAX_CODES] if CODE.fullmatch(code)),
        seal=_SEAL,
    )


def normalise(text: str) -> str:
    """Return `text` as it is compared: spelling variants of one PatientID are one patient."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def keyed_digest(key: bytes, kind: str, *parts: str) -> Digest:
    """Return the HMAC-SHA256 of `parts`; digests of different `kind` never meet.

    Raises:
        ConfigError: the key has fewer than 32 bytes.
    """
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"the pseudonym key must have at least {MIN_KEY_BYTES} bytes, got {len(key)}")
    # JSON keeps the parts apart: ("ab", "c") isn't ("a", "bc").
    return Digest(hmac.digest(key, json.dumps([kind, *parts]).encode(), "sha256").hex())


def _shifted_day(study_date: str, patient: Pseudonym, key: bytes) -> int | None:
    """Return the date as a number of days, shifted by the patient's own secret; None if there is no date.

    Source: DICOM PS3.15 E.3.6 (modified dates), PS3.5 6.2 (DA).
    """
    if not re.fullmatch(r"[0-9]{8}", study_date):
        return None
    try:
        day = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:])).toordinal()
    except ValueError:
        return None
    drawn = int(keyed_digest(key, "date", patient), base=16) % (2 * MAX_SHIFT_DAYS + 1)
    return day + drawn - MAX_SHIFT_DAYS


def _known(term: str, terms: frozenset[str]) -> str:
    return term if term in terms else ""


def _refuse_suspected_text(image: PreparedImage) -> None:
    """Refuse what may carry burned-in text: declared so, seen, screen captures, undeclared ultrasound."""
    declared, modality = image.facts.burned_in_annotation.upper(), image.facts.modality
    if declared == "YES":
        raise SuspectedTextError("burned-in text, says the file")
    if image.text != "none":
        raise SuspectedTextError("suspected burned-in text in the pixels")
    if modality in ("SC", "US") and declared != "NO":
        raise SuspectedTextError("suspected burned-in text: a screen capture or ultrasound that denies none")


def _refuse_suspected_face(facts: ImageFacts, *, attested: bool) -> None:
    if facts.recognizable_features == "YES":
        raise SuspectedFaceError("recognizable visual features, says the file")
    if facts.modality in _VOLUMES and facts.body_part in HEAD and not attested:
        raise SuspectedFaceError("a volume of the head, whose defacing nobody has attested")
