"""Turns the bytes of one frame into stored values; one table says which decoder reads which transfer syntax.

Every decoder is told beforehand how much may come out; one that yields another shape is refused.
"""

# Shape letters: H rows, W columns; colour frames have 3 as a last dimension.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from fed_client.reading.colour import from_ycbcr, upsampled_422
from fed_client.reading.rle import unpack
from fed_common.errors import UnreadableImageError

Stored = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a frame's stored values are arranged. Source: DICOM PS3.3 C.7.6.3.1, PS3.5 8.1.1.

    `swapped_words` says that 8-bit values come in big-endian words of two.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    photometric: str
    little_endian: bool
    swapped_words: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (H, W), or (H, W, 3) in colour."""
        return (self.rows, self.columns, self.samples) if self.samples > 1 else (self.rows, self.columns)

    @property
    def frame_bytes(self) -> int:
        """Return the size of an uncompressed frame; 4:2:2 shares the colour of two neighbours."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the stored values in the file's byte order."""
        order = "<" if self.little_endian else ">"
        return np.dtype(f"{order}{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def decode(frame: memoryview, syntax: str, layout: Layout) -> Stored:
    """Return the stored values, RGB if in colour, with unused bits cleared.

    Raises:
        UnreadableImageError: what comes out has another shape than the header says.
        Exception: whatever the decoder raises; call it inside `safely`.
    """
    compressed = _COMPRESSED.get(syntax)
    stored = compressed(bytes(frame), layout) if compressed else _uncompressed(frame, layout)
    if stored.shape != layout.shape:
        raise UnreadableImageError("the decoded image has another shape than the header says")
    return _used_bits(stored, layout)


def is_encapsulated(syntax: str) -> bool:
    """Tell whether frames of that transfer syntax come in fragments. Source: DICOM PS3.5 A.4."""
    return syntax in _COMPRESSED


def _uncompressed(frame: memoryview, layout: Layout) -> Stored:
    """Return a view into `frame`; a copy only if planes or subsampled colours must be put together.

    Source: DICOM PS3.3 C.7.6.3.1.3 (planes), C.7.6.3.1.2 (4:2:2), PS3.5 8.1.1 and 7.3 (byte order).
    """
    if len(frame) < layout.frame_bytes:
        raise UnreadableImageError("PixelData is shorter than the image")
    if layout.swapped_words:
        padded = layout.frame_bytes + layout.frame_bytes % 2
        values = np.frombuffer(frame[:padded], dtype=np.uint16).byteswap().view(layout.dtype)
    else:
        values = np.frombuffer(frame[: layout.frame_bytes], dtype=layout.dtype)
    if layout.photometric == "YBR_FULL_422":
        return from_ycbcr(upsampled_422(values, rows=layout.rows, columns=layout.columns))
    if layout.samples == 1:
        return values[: layout.rows * layout.columns].reshape(layout.shape)
    if layout.planar:
        stored = values.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    else:
        stored = values[: layout.rows * layout.columns * layout.samples].reshape(layout.shape)
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


def _rle(frame: bytes, layout: Layout) -> Stored:
    """Return the planes of a run-length encoded frame; what a segment holds too much is not unpacked.

    Source: DICOM PS3.5 annex G: one segment per byte of a sample, always by plane.
    """
    planes = unpack(
        frame,
        num_pixels=layout.rows * layout.columns,
        samples=layout.samples,
        sample_bytes=layout.bits_allocated // 8,
    )
    values = planes.view(layout.dtype.newbyteorder("<")).reshape(layout.samples, layout.rows, layout.columns)
    if layout.samples == 1:
        return np.asarray(values[0])
    stored = values.transpose(1, 2, 0)
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


def _jpeg(frame: bytes, layout: Layout) -> Stored:
    """Return a JPEG frame of 8, 12 or 16 bits, lossy or lossless; the header says which colours it holds.

    Without being told, the decoder guesses YCbCr for any three components.
    Source: DICOM PS3.5 8.2.1 and A.4.1 to A.4.3; ISO/IEC 10918-1.
    """
    if layout.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(frame))
    stored_as = "RGB" if layout.photometric == "RGB" else "YCBCR"
    return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace=stored_as, outcolorspace="RGB"))


def _jpeg_lossless(frame: bytes, layout: Layout) -> Stored:
    """Return a lossless JPEG frame; such a frame is never converted, so the colours are the header's."""
    stored = np.asarray(imagecodecs.jpeg8_decode(frame))
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


def _jpeg_ls(frame: bytes, layout: Layout) -> Stored:
    """Return a JPEG-LS frame, lossless or near-lossless. Source: DICOM PS3.5 8.2.3, ISO/IEC 14495-1."""
    stored = np.asarray(imagecodecs.jpegls_decode(frame))
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


def _jpeg_2000(frame: bytes, layout: Layout) -> Stored:
    """Return a JPEG 2000 frame; its own colour transform (YBR_RCT, YBR_ICT) is undone by the decoder.

    Source: DICOM PS3.5 8.2.4, ISO/IEC 15444-1 annex G.
    """
    stored = np.asarray(imagecodecs.jpeg2k_decode(frame))
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


def _high_throughput_jpeg_2000(frame: bytes, layout: Layout) -> Stored:
    """Return an HTJ2K frame. Source: DICOM PS3.5 8.2.14, ISO/IEC 15444-15."""
    stored = np.asarray(imagecodecs.htj2k_decode(frame))
    return from_ycbcr(stored) if layout.photometric == "YBR_FULL" else stored


_COMPRESSED: dict[str, Callable[[bytes, Layout], Stored]] = {
    uid.RLELossless: _rle,
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _jpeg_lossless,
    uid.JPEGLosslessSV1: _jpeg_lossless,
    uid.JPEGLSLossless: _jpeg_ls,
    uid.JPEGLSNearLossless: _jpeg_ls,
    uid.JPEG2000Lossless: _jpeg_2000,
    uid.JPEG2000: _jpeg_2000,
    uid.HTJ2KLossless: _high_throughput_jpeg_2000,
    uid.HTJ2KLosslessRPCL: _high_throughput_jpeg_2000,
    uid.HTJ2K: _high_throughput_jpeg_2000,
}


def _used_bits(stored: Stored, layout: Layout) -> Stored:
    """Return the values in the machine's byte order, without the bits above BitsStored.

    Those may hold an overlay, which is text: they are cleared, or filled with the sign.
    Source: DICOM PS3.5 8.1.1.
    """
    kind = np.dtype(f"{'i' if layout.signed else 'u'}{stored.dtype.itemsize}")
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(kind)
    unused = 8 * stored.dtype.itemsize - layout.bits_stored
    if unused <= 0 or layout.samples > 1:
        return native
    if layout.signed:
        shift = kind.type(unused)
        return np.asarray((native << shift) >> shift)
    most = kind.type((1 << layout.bits_stored) - 1)
    return native if native.max(initial=0) <= most else np.asarray(native & most)
