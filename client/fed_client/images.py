"""What one picture is called on its way from a hostile file to a tensor without a person.

    SourceImage        a frame as it is stored, in the worker process that reads files
    PreparedImage      the same by the recipe, as the worker hands it over: still says whose it is
    DeidentifiedImage  without the person (`deidentify.py`); only this one is kept

A file can also hold `Finding`s: what a structured report says about an image elsewhere.
"""

# Shape letters: C channels, H rows, W columns; `_HW` of a colour image has 3 as a last dimension.

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fed_client.reading import bounds
from fed_client.window import Window
from fed_common.task import CODE

# The forms of what comes from a file; `reading.wire` checks them on the parent's side.
Text = Annotated[str, Field(max_length=bounds.MAX_TEXT)]
Code = Annotated[str, Field(pattern=f"^(?:{CODE.pattern})$")]
Side = Annotated[int, Field(ge=1, le=bounds.MAX_PIXELS)]

# Why what a report says may not be the last word.
ReportFlaw = Literal["partial", "unverified", "preliminary"]

# What a look at the pixels says about text in them, and who looked.
TextFinding = Literal["none", "suspected", "read"]
TextDetector = Literal["off", "contrast", "contrast and tesseract"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class LookupTable:
    """A table of grey levels: `levels[i]` for the input `first + i`, the ends for what lies beyond.

    `levels` go from 0 (black) to 1 (white). Source: DICOM PS3.3 C.11.2.1.1 (VOI LUT).
    """

    first: float
    levels: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, repr=False)  # a repr ends in a log
class ImageFacts:
    """What a file says about one of its frames; the first six fields identify a person.

    Empty text means that the file doesn't say. `pixels` is the digest of the stored frame. `codes` are
    the coded findings of the header, written SCHEME:VALUE.
    """

    patient_id: Text
    issuer_of_patient_id: Text
    sop_instance_uid: Text
    series_instance_uid: Text
    study_instance_uid: Text
    study_date: Text
    frame: Annotated[int, Field(ge=0, lt=bounds.MAX_FRAMES)]
    num_frames: Annotated[int, Field(ge=1, le=bounds.MAX_FRAMES)]
    modality: Text
    view: Text
    body_part: Text
    transfer_syntax: Text
    photometric: Text
    rows: Side
    columns: Side
    bits_stored: Annotated[int, Field(ge=1, le=bounds.MAX_BITS)]
    burned_in_annotation: Text
    recognizable_features: Text
    codes: Annotated[tuple[Code, ...], Field(max_length=bounds.MAX_CODES)]
    pixels: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SourceImage:
    """One frame: `stored_HW * slope + intercept` are real units; RGB if it has a third dimension.

    `voi` turns real units into grey, None if the file names none; `windows` are those with a name, by
    it. `inverted` says that large means dark (MONOCHROME1): the inversion comes after `voi`.
    """

    stored_HW: NDArray[Any]
    slope: float
    intercept: float
    voi: Window | LookupTable | None
    windows: dict[str, Window]
    inverted: bool
    facts: ImageFacts


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PreparedImage:
    """A picture by the recipe: 0 is black, 65535 white."""

    grey_CHW: NDArray[np.uint16]
    text: TextFinding
    facts: ImageFacts


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding:
    """What a structured report says of one image: a code, written SCHEME:VALUE; `flaws` are the report's."""

    sop_instance_uid: Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
    code: Code
    flaws: Annotated[tuple[ReportFlaw, ...], Field(max_length=3)]
