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
from fed_client.reading.codes import items_of
from fed_client.reading.header import MAX_NUMBER, first_number, is_number
from fed_client.reading.tables import descriptor_of, entries_of, positions
from fed_client.window import Window, WindowFunction
from fed_common.errors import UnreadableImageError

MAX_NAMED_WINDOWS = 16


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Meaning:
    """How a frame's stored values become real units and then grey; see `SourceImage`."""

    slope: float
    intercept: float
    table: LookupTable | None
    voi: Window | LookupTable | None
    windows: dict[str, Window]


def meaning_of(elements: Dataset, *, signed: bool, little_endian: bool) -> Meaning:
    """Return what the elements of an image, or of a frame's functional groups, say.

    `signed` are the stored values, `little_endian` is the file.

    Raises:
        UnreadableImageError: they contradict the standard in a way that leaves the units open.

    Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT).
    """
    table = _table(elements, "ModalityLUTSequence", signed=signed, little_endian=little_endian)
    slope, intercept = (1.0, 0.0) if table else _rescale(elements)
    # Source: C.11.2.1.1: the input of a VOI LUT has a sign if the output of what stands before it can have.
    signed = table is None and (signed or slope < 0 or intercept < 0)
    shown = _table(elements, "VOILUTSequence", signed=signed, little_endian=little_endian, scaled=True)
    named = _windows(elements)
    return Meaning(
        slope=slope,
        intercept=intercept,
        table=table,
        voi=shown or (named[0][1] if named else None),
        windows={name: window for name, window in reversed(named) if name},
    )


def look_up(values: NDArray[Any], table: LookupTable) -> NDArray[np.float32]:
    """Return `table`'s level for each value. Source: DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1."""
    return table.levels[positions(values, table.first, len(table.levels))]


def _rescale(elements: Dataset) -> tuple[float, float]:
    """Return slope and intercept, which turn stored values into real units.

    Source: DICOM PS3.3 C.11.1.1.2, (0028,1052) and (0028,1053).
    """
    slope = first_number(elements, "RescaleSlope", default=1.0)
    intercept = first_number(elements, "RescaleIntercept", default=0.0)
    if slope == 0 or not is_number(slope) or not is_number(intercept):
        raise UnreadableImageError("RescaleSlope and RescaleIntercept must be finite, the slope not 0")
    return slope, intercept


def _table(
    elements: Dataset, keyword: str, *, signed: bool, little_endian: bool, scaled: bool = False
) -> LookupTable | None:
    """Return the first table of a sequence, its levels as they are or from 0 to 1; None without one.

    Source: DICOM PS3.3 C.11.1.1.1 (modality LUT), C.11.2.1.1 (VOI LUT; the first may be used as default).
    """
    item = next(items_of(elements, keyword), None)
    if item is None:
        return None
    descriptor = descriptor_of(item, "LUTDescriptor", signed=signed)
    levels = entries_of(item, "LUTData", descriptor, little_endian=little_endian).astype(np.float32)
    if scaled:
        levels = np.clip(levels / ((1 << descriptor.bits) - 1), 0, 1, dtype=np.float32)
    return LookupTable(first=descriptor.first, levels=levels)


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
