"""Feeds damaged files to the pool: none may escape, hang it or fill its memory.

`python -m tests.client.reading.fuzz --count 20000` prints a summary, with `--json` as JSON.
"""

import argparse
import json
import random
import resource
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_files
from tests.client.reading.compare_samples import SAMPLES

from fed_client.reading import process
from fed_client.reading.pool import Limits, ReaderPool, Unreadable
from fed_common.task import Recipe

LARGEST_SOURCE = 200_000
LIMITS = Limits(memory_bytes=512 << 20, cpu_s=10.0, timeout_s=20.0)
# Numbers that break arithmetic: signs, overflows, undefined lengths.
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_NEST = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the damaged files."""

    files: int
    sources: int
    read: int
    refused: int
    readers_lost: int
    seconds: float
    parent_growth_mb: float
    largest_reader_mb: float
    reasons: dict[str, int]


def sources() -> list[bytes]:
    """Return the small files among the samples and pydicom's own, and pictures, in a fixed order."""
    paths = [Path(name) for name in sorted(get_testdata_files()) if Path(name).is_file()]
    if SAMPLES.is_dir():
        paths += sorted((SAMPLES / "files").iterdir())
    small = [path.read_bytes() for path in paths if 0 < path.stat().st_size <= LARGEST_SOURCE]
    return small + list(pictures())


def pictures() -> Iterator[bytes]:
    """Yield PNG and JPEG files of every kind of grey and colour."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    ramp = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    grey = Image.fromarray((ramp % 256).astype(np.uint8))
    for picture in (Image.fromarray(ramp), *map(grey.convert, ("1", "L", "LA", "P", "RGB", "RGBA"))):
        stream = BytesIO()
        picture.save(stream, format="PNG", exif=exif)
        yield stream.getvalue()
    for picture in map(grey.convert, ("L", "RGB", "CMYK")):
        stream = BytesIO()
        picture.save(stream, format="JPEG", exif=exif, progressive=picture.mode == "RGB")
        yield stream.getvalue()


def damaged(contents: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return the file after a few mishaps, in the header or anywhere; most are small, and go deep."""
    data = bytearray(contents)
    for mishap in rng.choices(range(7), weights=(30, 5, 12, 8, 3, 1, 3), k=rng.randint(1, 3)):
        end = len(data) if rng.random() < 0.5 else min(len(data), 2500)
        place = rng.randrange(max(1, end))
        match mishap:
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                data = data[: max(1, place)]
            case 2:
                data[place : place + 2] = struct.pack("<H", rng.choice(_EXTREMES) & 0xFFFF)
            case 3:
                data[place : place + 4] = struct.pack("<L", rng.choice(_EXTREMES))
            case 4:
                donor = rng.choice(others)
                start = rng.randrange(len(donor))
                data[place:place] = donor[start : start + rng.randrange(1, 600)]
            case 5:
                data[place:place] = _NEST * rng.randrange(1, 1200)
            case 6:
                del data[place : place + rng.randrange(1, 200)]
    return bytes(data)


def damaged_files(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Yield paths whose files are written when they are asked for; a few places are used in turn."""
    rng, originals = random.Random(seed), sources()
    for number in range(count):
        original = rng.choice(originals)
        is_picture = original.startswith((b"\x89PNG", b"\xff\xd8"))
        path = folder / f"{number % 64}{'.png' if is_picture else '.dcm'}"
        path.write_bytes(damaged(original, originals, rng))
        yield path


def fuzz(count: int, seed: int) -> Summary:
    """Read `count` damaged files and return what happened; whatever escapes the pool is raised."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # Contrast alone looks for text: Tesseract, which it finds on the path, is not ours to fuzz.
        patch.dict(process._ENVIRONMENT, PATH="/nonexistent"),
        ReaderPool.opened(Recipe(), num_workers=2, limits=LIMITS, look_for_text=True) as pool,
    ):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        outcomes = Counter(
            outcome.reason if isinstance(outcome, Unreadable) else ""
            for outcome in pool.read(damaged_files(Path(folder), count, seed))
        )
        seconds = time.monotonic() - start
        largest = max(peak_kb(number) for number in pool.process_ids)
        lost = pool.num_lost
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Summary(
        files=outcomes.total(),
        sources=len(sources()),
        read=outcomes[""],
        refused=outcomes.total() - outcomes[""],
        readers_lost=lost,
        seconds=round(seconds, 1),
        parent_growth_mb=round(growth / 1024, 1),
        largest_reader_mb=round(largest / 1024, 1),
        reasons={why: number for why, number in outcomes.most_common() if why},
    )


def peak_kb(number: int) -> int:
    """Return the most memory that a process has had, in kB."""
    status = Path(f"/proc/{number}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    summary = fuzz(arguments.count, arguments.seed)
    if arguments.json:
        print(json.dumps(asdict(summary), indent=1))
        return
    for name, value in asdict(summary).items():
        if name != "reasons":
            print(f"{name:18}{value}")
    for why, number in summary.reasons.items():
        print(f"{number:7}  {why}")


if __name__ == "__main__":
    main()
