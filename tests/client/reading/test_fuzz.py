"""No damaged file escapes the pool; the long run is `python -m tests.client.reading.fuzz`."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.client.dicom_files import claim_syntax, file_bytes, image_dataset
from tests.client.reading.fuzz import LIMITS, fuzz, peak_kb

from fed_client.reading.pool import ReaderPool, Unreadable
from fed_common.task import Recipe

LARGEST_READER_KB = 1 << 20


def deflate_bomb() -> bytes:
    """Return a megabyte that inflates to a gigabyte."""
    plain = file_bytes(image_dataset())
    meta = claim_syntax(plain[: plain.index(b"\x08\x00\x16\x00UI")], uid.DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    return meta + b"".join(deflater.compress(zeros) for _ in range(1024)) + deflater.flush()


def run_length_bomb() -> bytes:
    """Return 2 MB of runs that stand for 128, in a header that asks for as much, unevenly shared."""
    header = np.array([2, 64, 64 + (1 << 19), *[0] * 13], dtype="<u4").tobytes()
    frame = encapsulate([header + b"\x81\x00" * (1 << 20)])
    dataset = image_dataset(PixelData=frame, Rows=8000, Columns=8000)
    dataset["PixelData"].is_undefined_length = True
    return file_bytes(dataset, uid.RLELossless)


BOMBS: dict[str, Callable[[], bytes]] = {
    "deflate bomb (39)": deflate_bomb,
    "run-length bomb (40)": run_length_bomb,
    "Rows is a lie (30)": lambda: file_bytes(image_dataset(Rows=65535, Columns=1000)),
    "a million frames (31)": lambda: file_bytes(image_dataset(NumberOfFrames=10**6)),
}


def test_bombs_and_lies_cost_their_file_and_little_memory(tmp_path: Path) -> None:
    good = tmp_path / "good.dcm"
    good.write_bytes(file_bytes(image_dataset()))
    with ReaderPool.opened(Recipe(), num_workers=1, limits=LIMITS, look_for_text=False) as pool:
        for name, make in BOMBS.items():
            bad = tmp_path / "bad.dcm"
            bad.write_bytes(make())
            refused, after = pool.read([bad, good])
            assert isinstance(refused, Unreadable), name
            assert not isinstance(after, Unreadable), name
        assert pool.num_lost == 0
        assert peak_kb(pool.process_ids[0]) < LARGEST_READER_KB


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_and_nothing_else_happens() -> None:
    summary = fuzz(1500, seed=1)
    assert summary.files == 1500
    assert summary.read + summary.refused == 1500
    assert summary.read > 100, "too much damage teaches nothing about reading"
    assert summary.parent_growth_mb < 200
    assert summary.largest_reader_mb * 1024 < LARGEST_READER_KB
