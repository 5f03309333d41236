"""Collects what a header says about a frame: whose it is, and what it shows, in known words only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from xxhash import xxh3_128

from fed_client.images import ImageFacts
from fed_client.reading.anatomy import body_part
from fed_client.reading.codes import coded_findings, first_code, text_of
from fed_client.reading.frames import region
from fed_client.reading.header import Header
from fed_client.reading.layout import Layout
from fed_client.reading.terms import MODALITY_OF_CLASS, SYNTAX_NAMES, VIEW_OF_CODE, VIEWS
from fed_common.errors import UnreadableImageError

_YES_NO = frozenset({"YES", "NO"})


def modality_of(header: Header) -> str:
    """Return the modality that the file's class stands for.

    Raises:
        UnreadableImageError: it is no class of images, or the image has no identity.

    Source: DICOM PS3.3 C.12.1 (SOP common module).
    """
    modality = MODALITY_OF_CLASS.get(header.text("SOPClassUID"))
    if modality is None:
        raise UnreadableImageError("SOPClassUID must be an image class")
    if not header.text("SOPInstanceUID"):
        raise UnreadableImageError("SOPInstanceUID is missing")
    return modality


def facts_of(
    header: Header, layout: Layout, *, frame: int, num_frames: int, groups: list[Dataset], pixels: str
) -> ImageFacts:
    """Return what the header says about a frame with these functional groups and this digest."""
    elements = header.elements
    return ImageFacts(
        patient_id=header.text("PatientID"),
        issuer_of_patient_id=header.text("IssuerOfPatientID"),
        sop_instance_uid=header.text("SOPInstanceUID"),
        series_instance_uid=header.text("SeriesInstanceUID"),
        study_instance_uid=header.text("StudyInstanceUID"),
        study_date=header.text("StudyDate"),
        frame=frame,
        num_frames=num_frames,
        modality=modality_of(header),
        view=header.term("ViewPosition", VIEWS)
        or VIEW_OF_CODE.get(first_code(elements, "ViewCodeSequence"), ""),
        body_part=body_part(text_of(elements, "BodyPartExamined"), region(elements, groups)),
        transfer_syntax=SYNTAX_NAMES[header.syntax],
        photometric=layout.photometric,
        rows=layout.rows,
        columns=layout.columns,
        bits_stored=layout.bits_stored,
        burned_in_annotation=header.term("BurnedInAnnotation", _YES_NO),
        recognizable_features=header.term("RecognizableVisualFeatures", _YES_NO),
        codes=coded_findings(elements),
        pixels=pixels,
    )


def digest_of_pixels(stored: NDArray[Any]) -> str:
    """Return what tells equal frames: the digest of shape, type and values, whatever their encoding was.

    It only finds copies, so it needn't resist whoever makes two pictures of one digest: that costs one of
    them its place, as a true copy would. What is trained on is sealed, and files are compared, by others.
    """
    digest = xxh3_128(f"{stored.shape} {stored.dtype.str}".encode())
    digest.update(np.ascontiguousarray(stored).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
