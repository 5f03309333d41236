"""Reads the frames of one DICOM file, or gives a reason that repeats nothing the file says.

Everything is checked against the header before a pixel is decoded, and frames are decoded one at a time.
"""

# Shape letters: H rows, W columns; colour images have 3 as a last dimension.

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from fed_client.images import Finding, ImageFacts, SourceImage
from fed_client.reading.codecs import Layout, decode
from fed_client.reading.codes import coded_findings
from fed_client.reading.colour import from_palette
from fed_client.reading.frames import MAX_FRAMES, chosen, frame_bytes, meaning_elements
from fed_client.reading.header import Header, parse, pixel_data, safely
from fed_client.reading.reports import REPORT_CLASSES, read_findings
from fed_client.reading.terms import BODY_PARTS, MODALITY_OF_CLASS, SYNTAX_NAMES, VIEWS
from fed_client.reading.values import look_up, meaning_of
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 1 << 26

_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3}
_SAMPLES |= dict.fromkeys(("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"), 3)
_YES_NO = frozenset({"YES", "NO"})


def read_file(path: Path, frames: Frames) -> Iterator[SourceImage | Finding]:
    """Yield the wanted frames of the file at `path`, or what a report says of images elsewhere.

    Raises:
        UnreadableImageError: it is no regular file, or holds no image that can be used as it is.
    """
    with mapped(path) as contents, safely():
        header = parse(contents)
        if header.elements.get("SOPClassUID") in REPORT_CLASSES:
            yield from read_findings(header.elements)
        else:
            yield from _images(header, frames)


def _images(header: Header, frames: Frames) -> Iterator[SourceImage]:
    modality = MODALITY_OF_CLASS.get(header.elements.get("SOPClassUID"))
    if modality is None:
        raise UnreadableImageError("SOPClassUID must be an image class")
    if not header.text("SOPInstanceUID"):
        raise UnreadableImageError("SOPInstanceUID is missing")
    pixels = pixel_data(header)
    layout = _layout(header, words=pixels.words)
    num_frames = 1
    if header.elements.get("NumberOfFrames") is not None:
        num_frames = header.whole("NumberOfFrames", 1, MAX_FRAMES)
    wanted = chosen(num_frames, frames)
    parts = frame_bytes(header, pixels, layout, num_frames=num_frames, wanted=wanted)
    for number, part in zip(wanted, parts, strict=True):
        stored_HW = decode(part, header.syntax, layout)
        facts = _facts(
            header, layout, modality=modality, frame=number, num_frames=num_frames, stored=stored_HW
        )
        yield _image(header, layout, stored_HW, facts)


def _layout(header: Header, *, words: bool) -> Layout:
    """Return how the pixels are arranged, once that can be decoded in bounded memory.

    Source: DICOM PS3.3 C.7.6.3 (image pixel module).
    """
    photometric = header.text("PhotometricInterpretation")
    samples = _SAMPLES.get(photometric)
    if samples is None:
        raise UnreadableImageError(f"PhotometricInterpretation must be one of {', '.join(_SAMPLES)}")
    header.whole("SamplesPerPixel", samples, samples)
    rows = header.whole("Rows", 1, MAX_PIXELS)
    columns = header.whole("Columns", 1, MAX_PIXELS // rows)
    allocated = header.whole("BitsAllocated", 8, 32)
    if allocated not in (8, 16, 32):
        raise UnreadableImageError("BitsAllocated must be 8, 16 or 32")
    stored = header.whole("BitsStored", 1, allocated)
    header.whole("HighBit", stored - 1, stored - 1)
    if photometric.startswith("YBR") and allocated != 8:
        raise UnreadableImageError("BitsAllocated must be 8 for YBR images")
    if photometric == "YBR_FULL_422" and columns % 2:
        raise UnreadableImageError("Columns must be even for YBR_FULL_422")
    return Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=header.whole("PixelRepresentation", 0, 1) == 1,
        planar=samples > 1 and header.elements.get("PlanarConfiguration") == 1,
        photometric=photometric,
        little_endian=header.syntax.is_little_endian,
        swapped_words=words and not header.syntax.is_little_endian and allocated == 8,
    )


def _image(header: Header, layout: Layout, stored_HW: NDArray[Any], facts: ImageFacts) -> SourceImage:
    meaning = meaning_of(meaning_elements(header.elements, facts.frame))
    if layout.photometric == "PALETTE COLOR":
        stored_HW = from_palette(stored_HW, header)
    elif meaning.table is not None:
        stored_HW = look_up(stored_HW, meaning.table)
    in_colour = stored_HW.ndim == 3
    return SourceImage(
        stored_HW=stored_HW,
        slope=1.0 if in_colour else meaning.slope,
        intercept=0.0 if in_colour else meaning.intercept,
        voi=None if in_colour else meaning.voi,
        windows={} if in_colour else meaning.windows,
        inverted=layout.photometric == "MONOCHROME1",
        facts=facts,
    )


def _facts(
    header: Header, layout: Layout, *, modality: str, frame: int, num_frames: int, stored: NDArray[Any]
) -> ImageFacts:
    return ImageFacts(
        patient_id=header.text("PatientID"),
        issuer_of_patient_id=header.text("IssuerOfPatientID"),
        sop_instance_uid=header.text("SOPInstanceUID"),
        series_instance_uid=header.text("SeriesInstanceUID"),
        study_instance_uid=header.text("StudyInstanceUID"),
        study_date=header.text("StudyDate"),
        frame=frame,
        num_frames=num_frames,
        modality=modality,
        view=header.term("ViewPosition", VIEWS),
        body_part=header.term("BodyPartExamined", BODY_PARTS),
        transfer_syntax=SYNTAX_NAMES[header.syntax],
        photometric=layout.photometric,
        rows=layout.rows,
        columns=layout.columns,
        bits_stored=layout.bits_stored,
        burned_in_annotation=header.term("BurnedInAnnotation", _YES_NO),
        recognizable_features=header.term("RecognizableVisualFeatures", _YES_NO),
        codes=coded_findings(header.elements),
        pixels=digest_of_pixels(stored),
    )


def digest_of_pixels(stored: NDArray[Any]) -> str:
    """Return what tells equal frames: the digest of shape, type and values, whatever their encoding was."""
    digest = blake3(f"{stored.shape} {stored.dtype.str}".encode())
    digest.update(np.ascontiguousarray(stored).reshape(-1).view(np.uint8).data)
    return str(digest.hexdigest())


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a regular file into memory: a page that isn't looked at isn't read.

    Raises:
        UnreadableImageError: it is no regular file, or too large.
    """
    try:
        # No symbolic link leads out of the folder, and no named pipe holds the reader up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # `from None`: the foreign message would bring the path.
        raise UnreadableImageError(f"the file can't be opened ({type(error).__name__})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"the file must have at most {MAX_FILE_BYTES} bytes")
        if status.st_size == 0:
            raise UnreadableImageError("the file is empty")
        try:
            # Not closed: views into it may live on; it goes with the last of them.
            contents = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise UnreadableImageError(f"the file can't be read ({type(error).__name__})") from None
    finally:
        os.close(descriptor)
    yield contents
