"""What stored values mean: real units by rescale or table, grey by window or table."""

# Shape letters: H rows, W columns.

import math
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from fed_client.images import LookupTable
from fed_client.reading.header import MAX_NUMBER, first_number, is_number
from fed_client.window import Window, WindowFunction
from fed_common.errors import UnreadableImageError

MAX_NAMED_WINDOWS = 16
_MAX_TABLE = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Meaning:
    """How a frame's stored values become real units and then grey; see `SourceImage`."""

    slope: float
    intercept: float
    table: LookupTable | None
    voi: Window | LookupTable | None
    windows: dict[str, Window]


def meaning_of(elements: Dataset) -> Meaning:
    """Return what the elements of an image, or of a frame's functional groups, say.

    Raises:
        UnreadableImageError: they contradict the standard in a way that leaves the units open.

    Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT).
    """
    table = _modality_table(elements)
    slope, intercept = (1.0, 0.0) if table else _rescale(elements)
    named = _windows(elements)
    voi: Window | LookupTable | None = _voi_table(elements)
    if voi is None and named:
        voi = named[0][1]
    return Meaning(
        slope=slope,
        intercept=intercept,
        table=table,
        voi=voi,
        windows={name: window for name, window in reversed(named) if name},
    )


def look_up(stored_HW: NDArray[Any], table: LookupTable) -> NDArray[np.float32]:
    """Return `table`'s level for each value. Source: DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1."""
    index = np.clip(stored_HW.astype(np.int64) - int(table.first), 0, len(table.levels) - 1)
    return table.levels[index]


def _rescale(elements: Dataset) -> tuple[float, float]:
    """Return slope and intercept, which turn stored values into real units.

    Source: DICOM PS3.3 C.11.1.1.2, (0028,1052) and (0028,1053).
    """
    slope = first_number(elements, "RescaleSlope", default=1.0)
    intercept = first_number(elements, "RescaleIntercept", default=0.0)
    if slope == 0 or not is_number(slope) or not is_number(intercept):
        raise UnreadableImageError("RescaleSlope and RescaleIntercept must be finite, the slope not 0")
    return slope, intercept


def _modality_table(elements: Dataset) -> LookupTable | None:
    """Return the modality LUT, its levels in real units. Source: DICOM PS3.3 C.11.1.1.1."""
    sequence = elements.get("ModalityLUTSequence")
    return _table(sequence[0], scale=1.0) if sequence else None


def _voi_table(elements: Dataset) -> LookupTable | None:
    """Return the first VOI LUT, its levels from 0 to 1; it goes before a window.

    Source: DICOM PS3.3 C.11.2.1.1; PS3.3 C.11.2: "the first ... may be used as default".
    """
    sequence = elements.get("VOILUTSequence")
    if not sequence:
        return None
    bits = _descriptor(sequence[0])[2]
    return _table(sequence[0], scale=1 / ((1 << bits) - 1))


def _table(item: Dataset, *, scale: float) -> LookupTable:
    count, first, _bits = _descriptor(item)
    data = item.get("LUTData")
    if isinstance(data, bytes):  # OW
        levels = np.frombuffer(data, dtype=np.uint16, count=min(count, len(data) // 2))
    else:
        levels = np.asarray(data, dtype=np.int64)
    if len(levels) < count or count < 1:
        raise UnreadableImageError("a look-up table must hold as many values as its descriptor says")
    return LookupTable(first=first, levels=(levels[:count] * scale).astype(np.float32))


def _descriptor(item: Dataset) -> tuple[int, int, int]:
    """Return the number of entries, the first mapped value and the bits. Source: C.11.1.1.1."""
    descriptor = item.get("LUTDescriptor")
    if not isinstance(descriptor, MultiValue | list) or len(descriptor) != 3:
        raise UnreadableImageError("LUTDescriptor must be 3 numbers")
    count, first, bits = (int(value) for value in descriptor)
    if not 0 <= count < _MAX_TABLE or not 8 <= bits <= 16:
        raise UnreadableImageError("LUTDescriptor must be of 1 to 65536 entries of 8 to 16 bits")
    return count or _MAX_TABLE, first, bits


def _windows(elements: Dataset) -> list[tuple[str, Window]]:
    """Return the windows with their explanations, in order; forbidden ones are left out.

    Source: DICOM PS3.3 C.11.2.1.2, (0028,1050), (0028,1051), (0028,1055) and (0028,1056).
    """
    function = elements.get("VOILUTFunction") or "LINEAR"
    if function not in get_args(WindowFunction):
        return []
    centres, widths = (_numbers(elements, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    names = elements.get("WindowCenterWidthExplanation") or ""
    explanations = list(names) if isinstance(names, MultiValue) else [names]
    narrowest = 1.0 if function == "LINEAR" else math.ulp(0.0)
    found: list[tuple[str, Window]] = []
    for position, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        if is_number(centre) and narrowest <= width <= MAX_NUMBER:
            name = str(explanations[position]).strip() if position < len(explanations) else ""
            window = Window(centre=centre, width=width, function=cast(WindowFunction, function))
            found.append((name, window))
    return found[:MAX_NAMED_WINDOWS]


def _numbers(elements: Dataset, keyword: str) -> list[float]:
    value = elements.get(keyword)
    if value is None:
        return []
    return [float(part) for part in value] if isinstance(value, MultiValue) else [float(value)]
