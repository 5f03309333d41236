"""Looks for text in the pixels of a frame: a name burned into a picture is a name.

Two look, one after the other. The first knows contrast: letters are many sharp edges side by side, in a row
of even height; pictures of bodies are smooth from pixel to pixel. It is fast, and its aim is to miss nothing.
The second is Tesseract, if the machine has it: it reads what the first suspects, and clears what can't be
read, except in pictures that are made with text on them.
"""

# Shape letters: H rows, W columns; `_hw` are cells of pixels.

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fed_client.images import SourceImage, TextDetector, TextFinding
from fed_client.reading.tesseract import find_tesseract, reads_words
from fed_common.compiled import compiled

# A jump of this share of the picture's grey levels, from one pixel to the next, is an edge of a stroke.
EDGE = 0.25
# So many cells in a row full of strokes are text: about four letters. A side marker has fewer.
MIN_CELLS = 5
# In pixels, each twice the one before: a letter is about one and a half cells wide.
_CELLS = (4, 8, 16, 32)
_CELL = _CELLS[0]
# Strokes per row of pixels in a cell: less is a line, more is noise.
_FEWEST, _MOST = 0.75, 0.5
# Text stands at the border of a picture that isn't all text.
_BORDER = 0.3
# More lines than this are a page or noise; nobody reads them all.
_MOST_LINES = 24
_MARGIN = 6
_ALL_TEXT = frozenset({"US", "SC", "XC", "ES", "OP"})


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where text is suspected: from and to which row and column of pixels."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def installed_detector() -> TextDetector:
    """Return who looks on this machine."""
    return "contrast and tesseract" if find_tesseract() else "contrast"


def find_text(image: SourceImage, detector: TextDetector) -> TextFinding:
    """Return whether the picture shows text; "read" if somebody could read it.

    Whatever hinders the reading leaves the suspicion.
    """
    if detector == "off":
        return "none"
    grey_HW = _one_channel(image.stored_HW)
    often_has_text = image.facts.modality in _ALL_TEXT
    regions = suspect_regions(grey_HW, everywhere=often_has_text)
    if not regions:
        return "none"
    if detector == "contrast":
        return "suspected"
    found = _read(grey_HW, regions)
    return "suspected" if often_has_text and found == "none" else found


def suspect_regions(grey_HW: NDArray[Any], *, everywhere: bool) -> list[Region]:
    """Return the rows of letters that contrast alone finds, at the borders or `everywhere`."""
    height, width = grey_HW.shape
    if height < 2 * _CELL or width < MIN_CELLS * _CELL:
        return []
    jump = EDGE * _grey_levels(grey_HW)
    if not jump > 0:
        return []
    edges_hw = _count_edges(grey_HW, float(jump), _CELL)
    if not everywhere:
        rows, columns = (int(side * _BORDER) for side in edges_hw.shape)
        edges_hw[rows : edges_hw.shape[0] - rows, columns : edges_hw.shape[1] - columns] = 0
    if edges_hw.sum() < MIN_CELLS * _FEWEST * _CELL:  # too few for the shortest row of the smallest letters
        return []
    found: list[Region] = []
    for cell in _CELLS:
        if cell > _CELL:
            edges_hw = _halved(edges_hw)
        full_hw = (edges_hw >= int(_FEWEST * cell)) & (edges_hw <= int(_MOST * cell * cell))
        found += [
            Region(rows=(row * cell, (row + 1) * cell), columns=(first * cell, (last + 1) * cell))
            for row, first, last in _runs(full_hw)
        ]
    return found


def _one_channel(stored_HW: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(stored_HW[..., 1] if stored_HW.ndim == 3 else stored_HW)


def _grey_levels(grey_HW: NDArray[Any]) -> float:
    """Return how far black and white are apart, unmoved by a few broken pixels."""
    step = max(1, max(grey_HW.shape) // 256)
    black, white = np.percentile(grey_HW[::step, ::step], (0.1, 99.9))
    return float(white - black)


@compiled()
def _count_edges(grey_HW: NDArray[Any], jump: float, cell: int) -> NDArray[np.int32]:
    """Return how many horizontal jumps lie in each cell; cells that are cut off are left out.

    The jumps at each column are counted over a cell's rows first: a loop over neighbours that the compiler
    vectorises.
    """
    rows, columns = grey_HW.shape[0] // cell, (grey_HW.shape[1] - 1) // cell
    edges_hw = np.empty((rows, columns), dtype=np.int32)
    counts_W = np.empty(columns * cell, dtype=np.uint8)
    limit = np.float32(jump)
    for y in range(rows):
        counts_W[:] = 0
        for row in range(y * cell, (y + 1) * cell):
            row_W = grey_HW[row]
            for x in range(columns * cell):
                here, there = np.float32(row_W[x]), np.float32(row_W[x + 1])
                counts_W[x] += abs(there - here) > limit
        for x in range(columns):
            edges_hw[y, x] = counts_W[x * cell : (x + 1) * cell].sum()
    return edges_hw


def _halved(edges_hw: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the sums over cells of twice the side; cells that are cut off are left out."""
    rows, columns = edges_hw.shape[0] // 2 * 2, edges_hw.shape[1] // 2 * 2
    pairs_hw = edges_hw[:rows:2, :columns] + edges_hw[1:rows:2, :columns]
    return np.asarray(pairs_hw[:, ::2] + pairs_hw[:, 1::2])


def _runs(full_hw: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return (row, first, last) of long runs; one cell between words doesn't end a run."""
    runs: list[tuple[int, int, int]] = []
    for row in map(int, np.flatnonzero(np.count_nonzero(full_hw, axis=1) >= MIN_CELLS)):
        columns = np.flatnonzero(full_hw[row])
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 2) + 1):
            if len(run) >= MIN_CELLS:
                runs.append((row, int(run[0]), int(run[-1])))
    return runs


def _read(grey_HW: NDArray[Any], regions: list[Region]) -> TextFinding:
    """Let Tesseract look at each line of letters by itself, the longest first."""
    lines = _lines(regions, grey_HW.shape)
    if len(lines) > _MOST_LINES:
        return "suspected"
    findings = {reads_words(_stretched(grey_HW[line])) for line in lines}
    if True in findings:
        return "read"
    return "suspected" if None in findings else "none"


def _lines(regions: list[Region], shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return what regions that touch have in common: the lines of letters, with a margin."""
    covered_hw = np.zeros([side // _CELL + 1 for side in shape], dtype=bool)
    for region in regions:
        rows, columns = (slice(a // _CELL, b // _CELL) for a, b in (region.rows, region.columns))
        covered_hw[rows, columns] = True
    labels_hw, _ = ndimage.label(covered_hw)
    return [(_pixels(rows), _pixels(columns)) for rows, columns in ndimage.find_objects(labels_hw)]


def _pixels(cells: slice) -> slice:
    return slice(max(0, cells.start * _CELL - _MARGIN), cells.stop * _CELL + _MARGIN)


def _stretched(line_HW: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the line with its own black and white, in 8 bits."""
    black, white = float(line_HW.min()), float(line_HW.max())
    return ((line_HW.astype(np.float32) - black) * (255 / max(white - black, 1e-9))).astype(np.uint8)
