"""Keeps of an image what training needs, and a pseudonym in place of the patient; nothing else passes.

The keep-list is the field list of `DeidentifiedImage`. Its constructor wants a seal that only this module
holds, so `deidentify` is the only door; the dataset takes nothing but `DeidentifiedImage`.
"""

import hmac
import json
import unicodedata
from dataclasses import InitVar, dataclass
from hashlib import sha256
from typing import NewType

import numpy as np
from numpy.typing import NDArray

from fed_client.dicom import DicomImage
from fed_client.window import Window
from fed_common.errors import ConfigError, PrivacyError, UnreadableImageError
from fed_common.names import Digest

Pseudonym = NewType("Pseudonym", str)

MIN_KEY_BYTES = 32

_SEAL = object()


class SuspectedTextError(UnreadableImageError):
    """The pixels may show the patient's name; the image is kept out until a person has looked."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class DeidentifiedImage:
    """Pixels without a person; `pixels`, `inverted` and `window` mean the same as in `DicomImage`.

    `instance` and `content` tell images apart: the first by the file's own identity, the second by
    patient and pixels. Both are keyed, so they say nothing outside the hospital.
    """

    pixels: NDArray[np.float32]
    inverted: bool
    window: Window | None
    modality: str
    patient: Pseudonym
    instance: Digest
    content: Digest
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise PrivacyError("only deidentify() makes a DeidentifiedImage")


def deidentify(image: DicomImage, key: bytes) -> DeidentifiedImage:
    """Return `image` under a pseudonym made with the site's secret `key`.

    Raises:
        UnreadableImageError: there is no PatientID, so nobody knows whose privacy is at stake.
        SuspectedTextError: the pixels may show text about the patient.
        ConfigError: the key is too short to keep a pseudonym from being guessed.
    """
    _refuse_suspected_text(image)
    patient_id = normalise(image.patient_id)
    if not patient_id:
        raise UnreadableImageError("PatientID is missing: the patient unit is undefined")
    patient = keyed_digest(key, "patient", patient_id, normalise(image.issuer_of_patient_id))
    look = (str(image.pixels.shape), str(image.inverted), str(image.window))
    return DeidentifiedImage(
        pixels=image.pixels,
        inverted=image.inverted,
        window=image.window,
        modality=image.modality,
        patient=Pseudonym(patient),
        instance=keyed_digest(key, "instance", image.sop_instance_uid),
        content=keyed_digest(key, "content", patient, *look, sha256(image.pixels.tobytes()).hexdigest()),
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


def _refuse_suspected_text(image: DicomImage) -> None:
    """Refuse what may carry burned-in text: declared so, screen captures, undeclared ultrasound."""
    declared = image.burned_in_annotation.upper()
    if declared == "YES" or image.modality == "SC" or (image.modality == "US" and declared != "NO"):
        raise SuspectedTextError("suspected burned-in text")
