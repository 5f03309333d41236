"""Parses what is wanted of a DICOM header, and nothing else, without touching the pixels.

Only the elements in `WANTED` are parsed. pydicom's own messages quote element values, so none of them
leaves this module: `safely` turns them into a reason.
"""

import logging
import math
import mmap
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, cast

from pydicom import Dataset, uid
from pydicom.config import disable_value_validation
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from fed_client.reading.bounds import MAX_TEXT
from fed_client.reading.codes import CODED_FINDINGS
from fed_client.reading.reports import REPORT_ELEMENTS
from fed_client.reading.terms import SYNTAX_NAMES
from fed_common.errors import UnreadableImageError

# A deflated data set says nothing of its size; it is inflated to this and no further.
MAX_INFLATED_BYTES = 1 << 28
# float32 holds any 16-bit value times this without overflow.
MAX_NUMBER = 1e30

_ORIGIN = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "StudyDate")
_PERSON = ("PatientID", "IssuerOfPatientID", "BurnedInAnnotation", "RecognizableVisualFeatures")
_KIND = (
    "ViewPosition",
    "ViewCodeSequence",
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "PhotometricInterpretation",
    "SamplesPerPixel",
)
_SHAPE = ("PlanarConfiguration", "NumberOfFrames", "Rows", "Columns")
_BITS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable")
_VALUES = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction")
_WINDOWS = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")
_PALETTE = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{suffix}"
    for colour in ("Red", "Green", "Blue")
    for prefix, suffix in (("", "Data"), ("", "Descriptor"), ("Segmented", "Data"))
)
# What gives stored values their meaning: also in functional groups, and with the sign of a table's input.
MEANING = (*_VALUES, *_WINDOWS, "PixelRepresentation")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTableLengths")
_IMAGE = (_ORIGIN, _PERSON, _KIND, _SHAPE, _BITS, _VALUES, _WINDOWS, _PALETTE, _GROUPS)
WANTED: list[BaseTag | int] = [
    Tag(keyword) for part in (*_IMAGE, CODED_FINDINGS, REPORT_ELEMENTS) for keyword in part
]

_PIXEL_DATA = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_UNDEFINED = 0xFFFFFFFF
# What pydicom 3.0.2 raises on damaged files; too deep a nesting is a RecursionError.
_DAMAGE_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_FORMAT_ERRORS = (BytesLengthException, EOFError, InvalidDicomError, OSError, struct.error, zlib.error)

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its messages quote element values


@contextmanager
def safely() -> Iterator[None]:
    """Turn what pydicom and the decoders raise into a reason without its text, and drop their warnings."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            yield
        except MemoryError:
            raise UnreadableImageError("the file needs more memory than it may have") from None
        except RecursionError:
            raise UnreadableImageError("sequences are nested too deeply") from None
        except (*_DAMAGE_ERRORS, *_FORMAT_ERRORS) as error:
            if isinstance(error, UnreadableImageError):
                raise
            # `from None`: the foreign message would bring a patient attribute.
            raise UnreadableImageError(f"damaged, or no DICOM file ({type(error).__name__})") from None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class Header:
    """The wanted elements; `rest` is what follows them in the file, from the pixels on."""

    elements: Dataset
    syntax: uid.UID
    rest: memoryview

    def text(self, keyword: str) -> str:
        """Return a single text, empty if it is missing.

        Raises:
            UnreadableImageError: it is something else, or too long.
        """
        value = self.elements.get(keyword) or ""
        if not isinstance(value, str):
            raise UnreadableImageError(f"{keyword} must be a single text")
        if len(value) > MAX_TEXT:
            raise UnreadableImageError(f"{keyword} must have at most {MAX_TEXT} characters")
        return value.strip()

    def term(self, keyword: str, known: frozenset[str]) -> str:
        """Return a text of a closed list, empty if it is none of them."""
        value = self.elements.get(keyword)
        return value if isinstance(value, str) and value in known else ""

    def whole(self, keyword: str, lowest: int, highest: int) -> int:
        """Return a whole number.

        Raises:
            UnreadableImageError: it is missing or out of range.
        """
        value = self.elements.get(keyword)
        if not isinstance(value, int) or not lowest <= value <= highest:
            allowed = str(lowest) if lowest == highest else f"in [{lowest}, {highest}]"
            raise UnreadableImageError(f"{keyword} must be {allowed}")
        return int(value)


def first_number(elements: Dataset, keyword: str, *, default: float) -> float:
    """Return the first value of a number, as float; NaN and infinity may come out."""
    value = elements.get(keyword)
    first = value[0] if isinstance(value, MultiValue) and value else value
    return default if first is None or isinstance(first, MultiValue) else float(first)


def is_number(value: float) -> bool:
    """Tell whether `value` is finite and of a size that can't overflow; NaN is neither."""
    return not math.isnan(value) and abs(value) <= MAX_NUMBER


def parse(contents: mmap.mmap | bytes) -> Header:
    """Return the header of a DICOM file; its pixels are found, not read.

    Raises:
        UnreadableImageError: the transfer syntax is none that is read.
        Exception: whatever pydicom raises; call it inside `safely`.

    Source: DICOM PS3.10 7.1 (file meta), PS3.5 7.1 (data elements) and A.5 (deflate).
    """
    stream = cast(BinaryIO, contents if isinstance(contents, mmap.mmap) else BytesIO(contents))
    stream.seek(0)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax not in SYNTAX_NAMES:
        raise UnreadableImageError("the transfer syntax is none that is read here")
    buffer: mmap.mmap | bytes = contents
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        buffer = _inflate(memoryview(contents)[stream.tell() :])
        stream = BytesIO(buffer)
    elements = read_dataset(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=lambda tag, _vr, _length: tag in _PIXEL_DATA,
        specific_tags=WANTED,
    )
    return Header(elements=elements, syntax=syntax, rest=memoryview(buffer)[stream.tell() :])


def _inflate(data: memoryview) -> bytes:
    """Return the inflated data set. Source: DICOM PS3.5 A.5, RFC 1951 (no zlib header)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise UnreadableImageError(f"the deflated data set has more than {MAX_INFLATED_BYTES} bytes")
    return inflated


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PixelData:
    """The value of (7FE0,0010) where it stands in the file.

    `encapsulated` says that it is a sequence of fragments, `words` that its values come in words (OW).
    """

    value: memoryview
    encapsulated: bool
    words: bool


def pixel_data(header: Header) -> PixelData:
    """Return where the pixels are.

    Raises:
        UnreadableImageError: there are none, or none of whole numbers.

    Source: DICOM PS3.5 7.1.2 and 7.1.3 (the two forms of an element), A.4 (encapsulated pixels).
    """
    rest, order = header.rest, "<" if header.syntax.is_little_endian else ">"
    if len(rest) < 12:
        raise UnreadableImageError("PixelData is missing")
    if struct.unpack_from(f"{order}HH", rest) != (0x7FE0, 0x0010):
        raise UnreadableImageError("PixelData must be whole numbers; floating-point pixels are not read")
    words, start = True, 8
    if not header.syntax.is_implicit_VR:
        words, start = bytes(rest[4:6]) == b"OW", 12
        if bytes(rest[4:6]) not in (b"OB", b"OW"):
            raise UnreadableImageError("PixelData must be OB or OW")
    (length,) = struct.unpack_from(f"{order}L", rest, start - 4)
    if length == _UNDEFINED:
        return PixelData(value=rest[start:], encapsulated=True, words=words)
    if length == 0:
        raise UnreadableImageError("PixelData is missing")
    if len(rest) < start + length:
        raise UnreadableImageError("PixelData is shorter than it says")
    return PixelData(value=rest[start : start + length], encapsulated=False, words=words)
