"""Frames as a reader yields them, made up."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_client.images import ImageFacts, PreparedImage, SourceImage, TextFinding

FACTS = ImageFacts(
    patient_id="P1",
    issuer_of_patient_id="",
    sop_instance_uid="1.2.3",
    series_instance_uid="1.2",
    study_instance_uid="1.1",
    study_date="20200229",
    frame=0,
    num_frames=1,
    modality="CR",
    view="PA",
    body_part="CHEST",
    transfer_syntax="explicit",
    photometric="MONOCHROME2",
    rows=3,
    columns=4,
    bits_stored=16,
    burned_in_annotation="",
    recognizable_features="",
    codes=(),
    pixels="00" * 16,
)


def source(stored_HW: NDArray[Any], **changed: Any) -> SourceImage:
    """Return a frame of these stored values; `changed` are its other fields."""
    plain = SourceImage(
        stored_HW=stored_HW, slope=1.0, intercept=0.0, voi=None, windows={}, inverted=False, facts=FACTS
    )
    return replace(plain, **changed)


def prepared(*, text: TextFinding = "none", **facts: Any) -> PreparedImage:
    """Return a prepared picture whose `facts` are changed as said."""
    grey_CHW = np.arange(16, dtype=np.uint16).reshape(1, 4, 4)
    return PreparedImage(grey_CHW=grey_CHW, text=text, facts=replace(FACTS, **facts))
