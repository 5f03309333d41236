"""Compares every sample file with an independent decoder.

`python -m tests.client.reading.compare_samples` prints a table, with `--json` JSON.
"""

import csv
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tests.client.reading.independent import decoded_elsewhere

from fed_client.images import SourceImage
from fed_client.reading.dicom import read_file
from fed_common.errors import UnreadableImageError

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "dicom_samples"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one file came out; `difference` is the largest of any pixel, None if not compared."""

    file: str
    syntax: str
    photometric: str
    verdict: str
    other: str
    difference: float | None
    why: str


def compare(path: Path, row: dict[str, str], folder: Path) -> Comparison:
    """Return how our pixels of the file relate to an independent decoder's."""

    def verdict(text: str, *, other: str = "", difference: float | None = None, why: str = "") -> Comparison:
        return Comparison(
            file=path.name,
            syntax=row["ts_name"],
            photometric=row["photometric"],
            verdict=text,
            other=other,
            difference=difference,
            why=why,
        )

    try:
        items = list(read_file(path, "each"))
    except UnreadableImageError as error:
        return verdict("quarantined", why=str(error))
    images = [item for item in items if isinstance(item, SourceImage)]
    if not images:
        return verdict("report", why=f"{len(items)} findings")
    other, theirs = decoded_elsewhere(path, folder)
    if theirs is None:
        return verdict("alone", other=other, why="the other decoder can't")
    ours = np.stack([image.stored_HW for image in images])
    if ours.shape != theirs.shape:
        return verdict("differ", other=other, why=f"shape {ours.shape}, theirs {theirs.shape}")
    if row["lut"].startswith("M"):
        return verdict("alone", other=other, why="our pixels went through a modality table")
    difference = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
    return verdict("differ" if difference else "agree", other=other, difference=difference)


def comparisons() -> Iterator[Comparison]:
    """Yield the comparison of every sample."""
    with tempfile.TemporaryDirectory() as folder, (SAMPLES / "index.csv").open(newline="") as index:
        for row in csv.DictReader(index):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the samples are odd on purpose
                yield compare(SAMPLES / "files" / row["file"], row, Path(folder))


def main() -> None:
    """Print the table and how many files came out how."""
    rows = list(comparisons())
    if "--json" in sys.argv:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        found = "" if row.difference is None else f"{row.difference:g}"
        print(f"{row.verdict:12}{row.other:10}{found:>6}  {row.file:52.52}{row.syntax:34.34} {row.why}")
    print(dict(Counter(row.verdict for row in rows)))


if __name__ == "__main__":
    main()
