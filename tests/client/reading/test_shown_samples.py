"""Real files come out in the greys that DCMTK shows: units, windows, tables and MONOCHROME1 together."""

import csv
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.reading.compare_samples import SAMPLES
from tests.client.reading.dicom_files import frames_of, units
from tests.client.reading.independent import MISSING

from fed_client.images import LookupTable, SourceImage
from fed_client.reading.values import look_up
from fed_client.window import Window
from fed_common.errors import UnreadableImageError

pytestmark = [
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of real files isn't here"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

WHITE = 65535


def grey(image: SourceImage) -> tuple[NDArray[np.float64], list[str]]:
    """Return the picture from 0 to 1, and how to ask DCMTK for the same."""
    units_HW = units(image).astype(np.float32)
    match image.voi:
        case Window():
            shown, asked = image.voi.grey(units_HW).astype(np.float64), ["+Wi", "1"]
        case LookupTable():
            shown, asked = look_up(np.rint(units_HW), image.voi).astype(np.float64), ["+Wl", "1"]
        case None:
            shown, asked = (units_HW - units_HW.min()) / np.ptp(units_HW).astype(np.float64), ["+Wm"]
    return (1 - shown if image.inverted else shown), asked


def shown_by_dcmtk(path: Path, asked: list[str], folder: Path) -> NDArray[np.int64] | None:
    """Return the first frame in 16 bits, None if DCMTK can't read the file."""
    target = folder / "shown.pgm"
    target.unlink(missing_ok=True)
    command = ["dcmj2pnm", *asked, "--no-overlays", "--write-n-bit-pnm", "16", str(path), str(target)]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if ran.returncode or not target.exists():
        return None
    return np.array(target.read_bytes().split()[4:], dtype=np.int64)


def bound(image: SourceImage) -> float:
    """Return by how much greys may differ: DCMTK rounds rescaled values to whole units."""
    in_whole_units = image.slope == round(image.slope) and image.intercept == round(image.intercept)
    if in_whole_units or not isinstance(image.voi, Window):
        return 1
    return WHITE / (image.voi.width - 1) + 2


def test_greys_are_those_that_dcmtk_shows(tmp_path: Path) -> None:
    num_compared = 0
    with (SAMPLES / "index.csv").open(newline="") as index, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the samples are odd on purpose
        for row in csv.DictReader(index):
            path = SAMPLES / "files" / row["file"]
            try:
                image = next(iter(frames_of(path, "first")), None)
            except UnreadableImageError:
                continue
            if image is None or image.stored_HW.ndim == 3 or np.ptp(image.stored_HW) == 0:
                continue
            ours, asked = grey(image)
            theirs = shown_by_dcmtk(path, asked, tmp_path)
            if theirs is None:  # JPEG-LS and JPEG 2000 need other programs
                continue
            assert np.abs(np.rint(ours * WHITE).reshape(-1) - theirs).max() <= bound(image), row["file"]
            num_compared += 1
    assert num_compared == 43
