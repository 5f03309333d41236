"""Turns the bytes of one frame into stored values; one table says which decoder reads which transfer syntax.

What a codestream announces is compared with the header before a decoder reserves memory for it.
"""

# Shape letters: H rows, W columns; colour frames have 3 as a last dimension.

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from fed_client.reading.codestream import (
    Announced,
    announced_by_high_throughput,
    announced_by_jpeg,
    announced_by_jpeg_2000,
)
from fed_client.reading.colour import SUBSAMPLED, YCBCR, to_rgb, upsampled
from fed_client.reading.layout import Layout
from fed_client.reading.rle import unpack
from fed_common.errors import UnreadableImageError

Stored = NDArray[Any]


def decode(frame: memoryview, syntax: str, layout: Layout) -> Stored:
    """Return the stored values, RGB if in colour, with unused bits cleared.

    Raises:
        UnreadableImageError: what comes out has another shape than the header says.
        Exception: whatever the decoder raises; call it inside `safely`.
    """
    decoder = _COMPRESSED.get(syntax)
    if decoder is None:
        stored = _uncompressed(frame, layout)
    else:
        whole = bytes(frame)
        if decoder.announced is not None:
            _compare(decoder.announced(whole), layout)
        stored = decoder.decode(whole, layout)
    if stored.shape != layout.shape or stored.dtype.itemsize * 8 > layout.bits_allocated:
        raise UnreadableImageError("the decoded image has another shape than the header says")
    stored = _used_bits(stored, layout)
    leaves_colours = decoder is None or not decoder.gives_rgb
    return to_rgb(stored, layout.photometric) if leaves_colours and layout.photometric in YCBCR else stored


def is_encapsulated(syntax: str) -> bool:
    """Tell whether frames of that transfer syntax come in fragments. Source: DICOM PS3.5 A.4."""
    return syntax in _COMPRESSED


def _compare(announced: Announced, layout: Layout) -> None:
    if (announced.rows, announced.columns, announced.samples) != (
        layout.rows,
        layout.columns,
        layout.samples,
    ):
        raise UnreadableImageError("the compressed picture has another shape than the header says")
    if announced.bits > layout.bits_allocated:
        raise UnreadableImageError("the compressed picture has more bits than the header says")


def _uncompressed(frame: memoryview, layout: Layout) -> Stored:
    """Return a view into `frame`; a copy only if subsampled colours must be put together.

    Source: DICOM PS3.3 C.7.6.3.1.3 (planes), C.7.6.3.1.2 (4:2:2), PS3.5 8.1.1.
    """
    if len(frame) < layout.frame_bytes:
        raise UnreadableImageError("PixelData is shorter than the image")
    values = np.frombuffer(frame[: layout.frame_bytes], dtype=layout.dtype)
    if layout.photometric in SUBSAMPLED:
        return upsampled(values, rows=layout.rows, columns=layout.columns)
    if layout.planar:
        return values.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return values.reshape(layout.shape)


def _rle(frame: bytes, layout: Layout) -> Stored:
    """Return the planes of a run-length encoded frame.

    Source: DICOM PS3.5 annex G: one segment per byte of a sample, always by plane.
    """
    planes = unpack(
        frame,
        num_pixels=layout.rows * layout.columns,
        samples=layout.samples,
        sample_bytes=layout.bits_allocated // 8,
    )
    stored = planes.reshape(layout.samples, layout.rows, layout.columns)
    return stored[0] if layout.samples == 1 else stored.transpose(1, 2, 0)


def _jpeg(frame: bytes, layout: Layout) -> Stored:
    """Return a lossy JPEG frame of 8 or 12 bits; the header says which colours it holds.

    Without being told, the decoder guesses YCbCr for any three components.
    Source: DICOM PS3.5 8.2.1 and A.4.1 to A.4.2; ISO/IEC 10918-1.
    """
    if layout.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(frame))
    stored_as = "RGB" if layout.photometric == "RGB" else "YCBCR"
    stored: Stored = imagecodecs.jpeg8_decode(frame, colorspace=stored_as, outcolorspace="RGB")
    return stored


def _jpeg_lossless(frame: bytes, layout: Layout) -> Stored:
    """Return a lossless JPEG frame, whose colours the decoder leaves. Source: DICOM PS3.5 A.4.1."""
    return np.asarray(imagecodecs.jpeg8_decode(frame))


def _jpeg_ls(frame: bytes, layout: Layout) -> Stored:
    """Return a JPEG-LS frame, lossless or near-lossless. Source: DICOM PS3.5 8.2.3, ISO/IEC 14495-1."""
    return np.asarray(imagecodecs.jpegls_decode(frame))


def _jpeg_2000(frame: bytes, layout: Layout) -> Stored:
    """Return a JPEG 2000 frame; its own colour transform (YBR_RCT, YBR_ICT) is undone by the decoder.

    Source: DICOM PS3.5 8.2.4, ISO/IEC 15444-1 annex G.
    """
    return np.asarray(imagecodecs.jpeg2k_decode(frame))


def _high_throughput_jpeg_2000(frame: bytes, layout: Layout) -> Stored:
    """Return an HTJ2K frame. Source: DICOM PS3.5 8.2.14, ISO/IEC 15444-15."""
    with _nothing_ignored():
        return np.asarray(imagecodecs.htj2k_decode(frame))


@contextmanager
def _nothing_ignored() -> Iterator[None]:
    """Refuse a picture of which a decoder found an error that its wrapper can't raise.

    imagecodecs 2026.3 drops those of OpenJPH and returns memory that was never written to.
    """
    ignored: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: ignored.append(type(unraisable).__name__)
    try:
        yield
    finally:
        sys.unraisablehook = before
    if ignored:
        raise UnreadableImageError("the compressed picture is damaged")


@dataclass(frozen=True, kw_only=True)
class _Decoder:
    """How frames of a transfer syntax are read; run-length encoding announces nothing and is bounded."""

    decode: Callable[[bytes, Layout], Stored]
    announced: Callable[[bytes], Announced] | None
    gives_rgb: bool = False


_LOSSY = _Decoder(decode=_jpeg, announced=announced_by_jpeg, gives_rgb=True)
_LOSSLESS = _Decoder(decode=_jpeg_lossless, announced=announced_by_jpeg)
_JPEG_LS = _Decoder(decode=_jpeg_ls, announced=announced_by_jpeg)
_JPEG_2000 = _Decoder(decode=_jpeg_2000, announced=announced_by_jpeg_2000)
_HIGH_THROUGHPUT = _Decoder(decode=_high_throughput_jpeg_2000, announced=announced_by_high_throughput)

_COMPRESSED: dict[str, _Decoder] = {
    uid.RLELossless: _Decoder(decode=_rle, announced=None),
    uid.JPEGBaseline8Bit: _LOSSY,
    uid.JPEGExtended12Bit: _LOSSY,
    uid.JPEGLossless: _LOSSLESS,
    uid.JPEGLosslessSV1: _LOSSLESS,
    uid.JPEGLSLossless: _JPEG_LS,
    uid.JPEGLSNearLossless: _JPEG_LS,
    uid.JPEG2000Lossless: _JPEG_2000,
    uid.JPEG2000: _JPEG_2000,
    uid.HTJ2KLossless: _HIGH_THROUGHPUT,
    uid.HTJ2KLosslessRPCL: _HIGH_THROUGHPUT,
    uid.HTJ2K: _HIGH_THROUGHPUT,
}


def _used_bits(stored: Stored, layout: Layout) -> Stored:
    """Return the values in the machine's byte order, without the bits above BitsStored.

    Those may hold an overlay, which is text: they are cleared, or filled with the sign. Mostly they are
    unused and nothing is copied.
    Source: DICOM PS3.5 8.1.1.
    """
    kind = layout.dtype.newbyteorder("=")
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    # A decoder gives the smallest type that holds the bits of the codestream, signed if that says so.
    values = native.astype(kind) if native.dtype.itemsize < kind.itemsize else native.view(kind)
    if layout.bits_stored == layout.bits_allocated:
        return values
    half = 1 << (layout.bits_stored - 1)
    if layout.signed:
        if -half <= values.min() and values.max() < half:
            return values
        shift = kind.type(layout.bits_allocated - layout.bits_stored)
        return np.asarray((values << shift) >> shift)
    return values if values.max() < 2 * half else np.asarray(values & kind.type(2 * half - 1))
