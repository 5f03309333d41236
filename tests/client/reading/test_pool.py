"""Whatever a file does to its reader costs that file, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from tests.client.dicom_files import RAMP, image_dataset, write
from tests.client.reading.strange_reader import MISDEEDS

from fed_client.images import PreparedImage
from fed_client.reading import pool as pool_module
from fed_client.reading.pool import Limits, Outcome, ReaderPool, Unreadable
from fed_common.errors import MachineError
from fed_common.task import Recipe

RECIPE = Recipe()
STRANGE = (sys.executable, "-m", "tests.client.reading.strange_reader")
ROOT = Path(__file__).parents[3]
REASONS = {
    "hang": "takes too long",
    "crash": "makes its reader crash",
    "exit": "makes its reader crash",
    "garbage": "said what it can't have read",
    "huge": "said what it can't have read",
    "wrong-field": "said what it can't have read",
    "few-pixels": "makes its reader crash",
    "endless": "too many frames",
}


@pytest.fixture(scope="module")
def real_pool() -> Iterator[ReaderPool]:
    with ReaderPool.opened(RECIPE, num_workers=2, look_for_text=False) as pool:
        yield pool


def strange(paths: list[Path], monkeypatch: pytest.MonkeyPatch, *, timeout_s: float = 20.0) -> list[Outcome]:
    monkeypatch.setattr(pool_module, "_ENVIRONMENT", {**os.environ, "PYTHONPATH": str(ROOT)})
    monkeypatch.setattr(pool_module, "MAX_FILE_PIXEL_BYTES", 1 << 20)
    limits = Limits(timeout_s=timeout_s)
    with ReaderPool.opened(RECIPE, num_workers=1, limits=limits, command=STRANGE) as pool:
        return list(pool.read(paths))


def images(outcome: Outcome) -> list[PreparedImage]:
    assert not isinstance(outcome, Unreadable), outcome.reason
    return [item for item in outcome if isinstance(item, PreparedImage)]


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Unreadable)
    return outcome.reason


@pytest.mark.parametrize("misdeed", REASONS)
def test_a_taken_over_reader_costs_one_file(misdeed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert misdeed in MISDEEDS
    timeout_s = 1.0 if misdeed == "hang" else 20.0
    before, bad, after = strange(
        [Path("/good"), Path("/") / misdeed, Path("/good")], monkeypatch, timeout_s=timeout_s
    )
    assert REASONS[misdeed] in reason(bad)
    for outcome in (before, after):
        (image,) = images(outcome)
        assert (image.grey_CHW == 7).all()


def test_a_readers_reason_fits_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    (outcome,) = strange([Path("/control")], monkeypatch)
    assert reason(outcome).startswith("[31mredlinexxx")
    assert len(reason(outcome)) < 200


def test_files_come_out_in_their_order(tmp_path: Path, real_pool: ReaderPool) -> None:
    paths = [
        write(tmp_path / f"{number}.dcm", image_dataset(RAMP, patient=f"P{number}")) for number in range(30)
    ]
    outcomes = list(real_pool.read(paths))
    assert [images(outcome)[0].facts.patient_id for outcome in outcomes] == [f"P{n}" for n in range(30)]


def test_only_a_few_files_are_read_ahead(tmp_path: Path, real_pool: ReaderPool) -> None:
    path = write(tmp_path / "image.dcm", image_dataset())
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield path

    outcomes = real_pool.read(endless())
    next(outcomes)
    assert asked <= 8


def test_every_frame_of_a_file_is_a_picture(tmp_path: Path, real_pool: ReaderPool) -> None:
    stack = np.stack([RAMP, RAMP + 50, RAMP + 90])
    dataset = image_dataset(PixelData=stack.tobytes(), NumberOfFrames=3)
    dataset.SOPClassUID = uid.EnhancedMRImageStorage
    (outcome,) = real_pool.read([write(tmp_path / "image.dcm", dataset)])
    assert [image.facts.frame for image in images(outcome)] == [0, 1, 2]


def test_a_bad_file_has_its_reason_and_the_next_is_read(tmp_path: Path, real_pool: ReaderPool) -> None:
    (tmp_path / "bad.dcm").write_bytes(b"no image at all" * 50)
    good = write(tmp_path / "good.dcm", image_dataset())
    outcomes = list(real_pool.read([tmp_path / "bad.dcm", tmp_path / "missing.dcm", good]))
    assert reason(outcomes[0]).startswith("damaged, or no DICOM file")
    assert reason(outcomes[1]).startswith("the file can't be opened")
    assert len(images(outcomes[2])) == 1


def test_more_memory_than_allowed_is_a_reason(tmp_path: Path) -> None:
    large = write(tmp_path / "large.dcm", image_dataset(np.zeros((6000, 6000), np.uint16), WindowCenter=1))
    limits = Limits(memory_bytes=48 << 20)
    with ReaderPool.opened(RECIPE, num_workers=1, limits=limits, look_for_text=False) as pool:
        (outcome,) = pool.read([large])
        (after,) = pool.read([write(tmp_path / "small.dcm", image_dataset())])
    assert "memory" in reason(outcome) or "crash" in reason(outcome) or "can't be read" in reason(outcome)
    assert len(images(after)) == 1


def test_a_killed_reader_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "image.dcm", image_dataset())
    others = children("fed_client.reading.worker")
    with ReaderPool.opened(RECIPE, num_workers=1, look_for_text=False) as pool:
        (reader,) = children("fed_client.reading.worker") - others
        os.kill(reader, signal.SIGKILL)
        outcomes = list(pool.read([path, path]))
    assert "crash" in reason(outcomes[0])
    assert len(images(outcomes[1])) == 1


def test_readers_end_with_the_pool_and_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from fed_client.reading.pool import ReaderPool\n"
        "from fed_common.task import Recipe\n"
        "with ReaderPool.opened(Recipe(), num_workers=1) as pool:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        (reader,) = children("fed_client.reading.worker", of=parent.pid)
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{reader}").exists():
        assert time.monotonic() < deadline, "the reader outlived its parent"
        time.sleep(0.02)


def test_a_reader_that_does_not_start_is_the_operators_business() -> None:
    with (
        pytest.raises(MachineError, match="doesn't start"),
        ReaderPool.opened(RECIPE, num_workers=1, command=("/bin/false",)),
    ):
        pass


def test_the_reading_process_limits_itself(tmp_path: Path) -> None:
    others = children("fed_client.reading.worker")
    with ReaderPool.opened(RECIPE, num_workers=1) as pool:
        list(pool.read([write(tmp_path / "image.dcm", image_dataset())]))
        (reader,) = children("fed_client.reading.worker") - others
        limits = Path(f"/proc/{reader}/limits").read_text().splitlines()
        status = Path(f"/proc/{reader}/status").read_text()
        libraries = Path(f"/proc/{reader}/maps").read_text()
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits[1:]}
    assert soft["Max core file size"] == "0"
    assert int(soft["Max address space"]) < 8 << 30
    assert "NoNewPrivs:\t1" in status
    assert "libtorch" not in libraries


def children(command: str, *, of: int | None = None) -> set[int]:
    """Return the processes of this one, or of another, whose command line names `command`."""
    parent = os.getpid() if of is None else of
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and command.encode() in words:
            found.add(int(process.name))
    return found
