"""Says how a file's pixels are arranged, once that is known to be decoded in bounded memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import uid

from fed_client.reading.bounds import MAX_BITS, MAX_FRAMES, MAX_PIXELS
from fed_client.reading.colour import SUBSAMPLED
from fed_client.reading.header import Header
from fed_common.errors import UnreadableImageError

MAX_FRAME_BYTES = 1 << 28
# All frames together, though they are decoded one at a time: a file of 1 GB unpacks to no more than this.
MAX_BYTES = 1 << 33

_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3}
_SAMPLES |= dict.fromkeys(("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"), 3)
# Colour transforms that only JPEG 2000 has. Source: DICOM PS3.3 C.7.6.3.1.2, PS3.5 8.2.4.
_TRANSFORMED = ("YBR_ICT", "YBR_RCT")
_JPEG_2000 = (uid.JPEG2000, uid.JPEG2000Lossless, uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a frame's stored values are arranged. Source: DICOM PS3.3 C.7.6.3.1, PS3.5 8.1.1."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    photometric: str
    little_endian: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (H, W), or (H, W, 3) in colour."""
        return (self.rows, self.columns, self.samples) if self.samples > 1 else (self.rows, self.columns)

    @property
    def frame_bytes(self) -> int:
        """Return the size of an uncompressed frame; 4:2:2 shares the colour of two neighbours."""
        samples = 2 if self.photometric in SUBSAMPLED else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the stored values in the file's byte order."""
        order = "<" if self.little_endian else ">"
        return np.dtype(f"{order}{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def layout_of(header: Header) -> Layout:
    """Return how the pixels are arranged.

    Raises:
        UnreadableImageError: they are not, or would not fit into the memory that a file may take.

    Source: DICOM PS3.3 C.7.6.3 (image pixel module).
    """
    photometric = header.text("PhotometricInterpretation")
    samples = _SAMPLES.get(photometric)
    if samples is None:
        raise UnreadableImageError(f"PhotometricInterpretation must be one of {', '.join(_SAMPLES)}")
    header.whole("SamplesPerPixel", samples, samples)
    rows = header.whole("Rows", 1, MAX_PIXELS)
    columns = header.whole("Columns", 1, MAX_PIXELS // rows)
    allocated = header.whole("BitsAllocated", 8, MAX_BITS)
    if allocated not in (8, 16, 32):
        raise UnreadableImageError("BitsAllocated must be 8, 16 or 32")
    if rows * columns * samples * allocated // 8 > MAX_FRAME_BYTES:
        raise UnreadableImageError(f"a frame must have at most {MAX_FRAME_BYTES} bytes")
    stored = header.whole("BitsStored", 1, allocated)
    header.whole("HighBit", stored - 1, stored - 1)
    _check_colours(header, photometric, allocated=allocated, columns=columns)
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
    )


def _check_colours(header: Header, photometric: str, *, allocated: int, columns: int) -> None:
    if photometric.startswith("YBR") and allocated != 8:
        raise UnreadableImageError("BitsAllocated must be 8 for YBR images")
    if photometric in SUBSAMPLED and columns % 2:
        raise UnreadableImageError("Columns must be even for 4:2:2 images")
    if photometric in _TRANSFORMED and header.syntax not in _JPEG_2000:
        raise UnreadableImageError("PhotometricInterpretation must be YBR_ICT or YBR_RCT in JPEG 2000 only")


def num_frames_of(header: Header, layout: Layout) -> int:
    """Return how many frames there are, 1 if the file doesn't say.

    Raises:
        UnreadableImageError: there are too many.

    Source: DICOM PS3.3 C.7.6.6 (multi-frame module).
    """
    if header.elements.get("NumberOfFrames") is None:
        return 1
    frame_bytes = layout.rows * layout.columns * layout.samples * layout.bits_allocated // 8
    return header.whole("NumberOfFrames", 1, min(MAX_FRAMES, MAX_BYTES // frame_bytes))
