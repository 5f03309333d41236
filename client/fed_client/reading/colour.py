"""Turns every way in which DICOM stores colour into RGB."""

# Shape letters: H rows, W columns.

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from fed_client.reading.header import Header

# Source: DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL), which is ITU-R BT.601 in full range.
_FROM_YCBCR = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], dtype=np.float32)


def from_ycbcr(image_HW3: NDArray[Any]) -> NDArray[np.uint8]:
    """Return RGB of an 8-bit YBR_FULL image.

    Source: DICOM PS3.3 C.7.6.3.1.2.
    """
    ycbcr = image_HW3.astype(np.float32)
    ycbcr[..., 1:] -= 128
    rgb: NDArray[np.uint8] = np.clip(np.rint(ycbcr @ _FROM_YCBCR.T), 0, 255).astype(np.uint8)
    return rgb


def upsampled_422(values: NDArray[Any], *, rows: int, columns: int) -> NDArray[Any]:
    """Return (H, W, 3) of bytes stored as Y1 Y2 Cb Cr, where two neighbours share a colour.

    Source: DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL_422).
    """
    pairs = values.reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns, 3), dtype=values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for channel in (1, 2):
        full[:, 0::2, channel] = full[:, 1::2, channel] = pairs[..., channel + 1]
    return full


def from_palette(indices_HW: NDArray[Any], header: Header) -> NDArray[np.uint8]:
    """Return RGB of a PALETTE COLOR image by its own tables, segmented or not, in 8 bits.

    Source: DICOM PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2.
    """
    elements = header.elements
    if not header.syntax.is_little_endian:
        elements = _with_swapped_tables(elements)
    rgb: NDArray[Any] = apply_color_lut(indices_HW, elements)[..., :3]
    # Tables of 16 bits use them all, also those that hold 8-bit colours in their high bytes.
    return rgb if rgb.dtype == np.uint8 else (rgb >> np.uint16(8)).astype(np.uint8)


def _with_swapped_tables(elements: Dataset) -> Dataset:
    """Return the elements with palettes in little-endian words, the only order that pydicom expects."""
    swapped = Dataset()
    swapped.update(elements)
    for colour in ("Red", "Green", "Blue"):
        for keyword in (
            f"{colour}PaletteColorLookupTableData",
            f"Segmented{colour}PaletteColorLookupTableData",
        ):
            if keyword in elements:
                words = np.frombuffer(elements[keyword].value, dtype=np.uint16)
                setattr(swapped, keyword, words.byteswap().tobytes())
    return swapped
