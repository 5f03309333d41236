"""Reads one image out of a DICOM file, or gives a reason that repeats nothing the file says.

Only the elements in `_ELEMENTS` are parsed; everything is checked against the header before a pixel is
decoded. pydicom's own messages quote element values, so none of them leaves this module.
"""

# Shape letters: H rows, W columns; colour images have 3 as a last dimension.

import logging
import math
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag, Tag

from fed_client.rle import longest_segment
from fed_client.window import Window, WindowFunction
from fed_common.errors import UnreadableImageError

MAX_FILE_BYTES = 1 << 28
MAX_PIXELS = 1 << 25
# float32 holds any 16-bit value times this without overflow.
MAX_RESCALE = 1e30
# Some writers pad a segment; beyond this it is a decompression bomb.
MAX_RLE_PADDING = 256

# The modality follows from the class, so that free text in (0008,0060) has no way through.
_MODALITY_OF_CLASS = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.DigitalXRayImageStorageForProcessing: "DX",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalMammographyXRayImageStorageForProcessing: "MG",
    uid.DigitalIntraOralXRayImageStorageForPresentation: "IO",
    uid.DigitalIntraOralXRayImageStorageForProcessing: "IO",
    uid.CTImageStorage: "CT",
    uid.MRImageStorage: "MR",
    uid.NuclearMedicineImageStorage: "NM",
    uid.PositronEmissionTomographyImageStorage: "PT",
    uid.UltrasoundImageStorage: "US",
    uid.OphthalmicPhotography8BitImageStorage: "OP",
    uid.OphthalmicPhotography16BitImageStorage: "OP",
    uid.VLPhotographicImageStorage: "XC",
    uid.SecondaryCaptureImageStorage: "SC",
}
_SYNTAXES = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless)
_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "RGB": 3, "YBR_FULL": 3}
_ORIGIN = ("SOPClassUID", "SOPInstanceUID", "PatientID", "IssuerOfPatientID", "BurnedInAnnotation")
_KIND = ("PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames")
_SHAPE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData")
_VALUES = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction")
_ELEMENTS: list[BaseTag | int] = [
    Tag(keyword) for keyword in (*_ORIGIN, *_KIND, *_SHAPE, *_VALUES, "ModalityLUTSequence")
]

# What pydicom 3.0.2 raises on damaged files; too deep a nesting is a RuntimeError.
_DAMAGE_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_FORMAT_ERRORS = (BytesLengthException, EOFError, InvalidDicomError, MemoryError, OSError, struct.error)

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its messages quote element values


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class DicomImage:
    """One image in real units with what de-identification must know; not to be stored.

    `pixels` has the shape (H, W), or (H, W, 3) in RGB. `inverted` says that large means dark
    (MONOCHROME1): the window applies to `pixels` as they are, the inversion comes after it.
    """

    pixels: NDArray[np.float32]
    inverted: bool
    window: Window | None
    modality: str
    sop_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    burned_in_annotation: str


def read_image(path: Path) -> DicomImage:
    """Return the image in the file at `path`.

    Raises:
        UnreadableImageError: it is no regular file, or holds no image that can be used as it is.
    """
    contents = _read_regular_file(path)
    with _pydicom_errors():
        header = _parse(contents)
        _check_layout(header)
        slope, intercept = _rescale(header)
        # Bits above BitsStored may hold an overlay, that is text: they are masked or sign-extended.
        stored = pixel_array(header, index=0, correct_unused_bits=True)
        return DicomImage(
            pixels=stored.astype(np.float32) * np.float32(slope) + np.float32(intercept),
            inverted=_text(header, "PhotometricInterpretation") == "MONOCHROME1",
            window=_window(header),
            modality=_MODALITY_OF_CLASS[header.SOPClassUID],
            sop_instance_uid=_text(header, "SOPInstanceUID"),
            patient_id=_text(header, "PatientID"),
            issuer_of_patient_id=_text(header, "IssuerOfPatientID"),
            burned_in_annotation=_text(header, "BurnedInAnnotation"),
        )


def _read_regular_file(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_in_place) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise UnreadableImageError(f"the file has more than {MAX_FILE_BYTES} bytes")
            return file.read(status.st_size)
    except OSError as error:
        # `from None`, here and below: the foreign message would bring the path or a patient attribute.
        raise UnreadableImageError(f"the file can't be opened ({type(error).__name__})") from None


def _open_in_place(path: str, flags: int) -> int:
    # No symbolic link leads out of the folder, and no named pipe holds the reader up.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


@contextmanager
def _pydicom_errors() -> Iterator[None]:
    """Turn what pydicom raises into a reason without its text, and drop its warnings."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            yield
        except (*_DAMAGE_ERRORS, *_FORMAT_ERRORS) as error:
            raise UnreadableImageError(f"damaged, or no DICOM file ({type(error).__name__})") from None


def _parse(contents: bytes) -> Dataset:
    """Return the elements of `_ELEMENTS`, once the transfer syntax is known to be harmless.

    pydicom's `dcmread` does both steps in one, and inflates a deflated data set whole on the way.
    """
    stream = BytesIO(contents)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    syntax = meta.TransferSyntaxUID
    if syntax not in _SYNTAXES:
        raise UnreadableImageError("the transfer syntax must be uncompressed or RLE Lossless")
    header = read_dataset(stream, syntax.is_implicit_VR, syntax.is_little_endian, specific_tags=_ELEMENTS)
    header.file_meta = FileMetaDataset(meta)
    return header


def _check_layout(header: Dataset) -> None:
    """Refuse what can't be decoded in bounded memory, or isn't one plain image."""
    if header.get("SOPClassUID") not in _MODALITY_OF_CLASS:
        raise UnreadableImageError("SOPClassUID must be a single-frame image class")
    if not _text(header, "SOPInstanceUID"):
        raise UnreadableImageError("SOPInstanceUID is missing")
    samples = _SAMPLES.get(_text(header, "PhotometricInterpretation"))
    if samples is None:
        raise UnreadableImageError(f"PhotometricInterpretation must be one of {', '.join(_SAMPLES)}")
    if header.get("NumberOfFrames") is not None:
        _check_whole(header, "NumberOfFrames", 1, 1)
    _check_whole(header, "SamplesPerPixel", samples, samples)
    _check_whole(header, "Rows", 1, MAX_PIXELS)
    _check_whole(header, "Columns", 1, MAX_PIXELS // header.Rows)
    _check_whole(header, "BitsAllocated", 8, 16 if samples == 1 else 8)
    _check_whole(header, "BitsStored", 1, header.BitsAllocated)
    _check_whole(header, "HighBit", header.BitsStored - 1, header.BitsStored - 1)
    if header.get("ModalityLUTSequence"):
        raise UnreadableImageError("a modality look-up table can't be applied, only slope and intercept")
    _check_pixel_data(header)


def _check_whole(header: Dataset, keyword: str, lowest: int, highest: int) -> None:
    value = header.get(keyword)
    if not isinstance(value, int) or not lowest <= value <= highest:
        allowed = str(lowest) if lowest == highest else f"in [{lowest}, {highest}]"
        raise UnreadableImageError(f"{keyword} must be {allowed}")


def _check_pixel_data(header: Dataset) -> None:
    data = header.get("PixelData")
    if not isinstance(data, bytes) or not data:
        raise UnreadableImageError("PixelData is missing")
    plane_bytes = header.Rows * header.Columns
    if header.file_meta.TransferSyntaxUID == uid.RLELossless:
        if longest_segment(get_frame(data, 0, number_of_frames=1)) > plane_bytes + MAX_RLE_PADDING:
            raise UnreadableImageError("an RLE segment holds more than its share of the image")
    elif len(data) < plane_bytes * header.SamplesPerPixel * header.BitsAllocated // 8:
        raise UnreadableImageError("PixelData is shorter than the image")


def _rescale(header: Dataset) -> tuple[float, float]:
    """Return slope and intercept, which turn stored values into real units.

    Source: DICOM PS3.3 C.11.1.1.2, (0028,1052) and (0028,1053).
    """
    slope = _number(header, "RescaleSlope", default=1.0)
    intercept = _number(header, "RescaleIntercept", default=0.0)
    # Compared so that NaN fails.
    if slope == 0 or not abs(slope) <= MAX_RESCALE or not abs(intercept) <= MAX_RESCALE:
        raise UnreadableImageError("RescaleSlope and RescaleIntercept must be finite, the slope not 0")
    return slope, intercept


def _window(header: Dataset) -> Window | None:
    """Return the file's first window; one that the standard forbids counts as none.

    Source: DICOM PS3.3 C.11.2.1.2, (0028,1050), (0028,1051) and (0028,1056).
    """
    # Compared so that NaN fails, which also stands for a missing value.
    centre = _number(header, "WindowCenter", default=math.nan)
    width = _number(header, "WindowWidth", default=math.nan)
    function = _text(header, "VOILUTFunction") or "LINEAR"
    narrowest = 1.0 if function == "LINEAR" else math.ulp(0.0)
    in_range = abs(centre) <= MAX_RESCALE and narrowest <= width <= MAX_RESCALE
    if not in_range or function not in get_args(WindowFunction):
        return None
    return Window(centre=centre, width=width, function=cast(WindowFunction, function))


def _number(header: Dataset, keyword: str, *, default: float) -> float:
    value = header.get(keyword)
    first = value[0] if isinstance(value, MultiValue) else value
    return default if first is None else float(first)


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword) or ""
    if not isinstance(value, str):
        raise UnreadableImageError(f"{keyword} must be a single text")
    return value.strip()
