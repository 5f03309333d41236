"""Whatever a file does to its reader costs that file, and nothing else."""

import json
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

from fed_client.images import Finding, PreparedImage
from fed_client.reading import bounds, process
from fed_client.reading.pool import Limits, Outcome, ReaderPool, Unreadable
from fed_common.errors import MachineError
from fed_common.task import Recipe

RECIPE = Recipe()
ROOT = Path(__file__).parents[3]
REASONS = {
    "hang": "takes too long",
    "crash": "makes its reader crash",
    "exit": "makes its reader crash",
    "garbage": "said what it can't have read",
    "huge": "said what it can't have read",
    "wrong-field": "said what it can't have read",
    "few-pixels": "makes its reader crash",
    "endless": "more pictures than are read",
}
IMPOSSIBLE = (
    *("long-name", "long-term", "many-codes", "free-text-as-code", "huge-frame-number", "no-rows"),
    *("many-bits", "no-digest", "two-patients", "two-images", "same-frame-twice", "more-frames"),
    *(
        "fewer-frames",
        "image-and-finding",
        "finding-for-no-uid",
        "finding-in-words",
        "finding-of-a-flaw-unheard-of",
        "many-findings",
    ),
)


@pytest.fixture(scope="module")
def real_pool() -> Iterator[ReaderPool]:
    with ReaderPool.opened(RECIPE, num_workers=2, look_for_text=False) as pool:
        yield pool


def reader(module: str) -> tuple[str, ...]:
    """Return the command of a reading process that lives among the tests."""
    start = f"runpy.run_module({module!r}, None, '__main__')"
    return (sys.executable, "-I", "-c", f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); {start}")


def read_by(module: str, *names: str, limits: Limits | None = None) -> list[Outcome]:
    command = reader(f"tests.client.reading.{module}")
    with ReaderPool.opened(RECIPE, num_workers=1, limits=limits, command=command) as pool:
        return list(pool.read(Path("/") / name for name in names))


def images(outcome: Outcome) -> list[PreparedImage]:
    assert not isinstance(outcome, Unreadable), outcome.reason
    return [item for item in outcome if isinstance(item, PreparedImage)]


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Unreadable)
    return outcome.reason


@pytest.mark.parametrize("misdeed", REASONS)
def test_a_taken_over_reader_costs_one_file(misdeed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert misdeed in MISDEEDS
    monkeypatch.setattr(bounds, "MAX_ANSWER_BYTES", 1 << 20)
    limits = Limits(timeout_s=1.0 if misdeed == "hang" else 20.0)
    before, bad, after = read_by("strange_reader", "good", misdeed, "good", limits=limits)
    assert REASONS[misdeed] in reason(bad)
    for outcome in (before, after):
        (image,) = images(outcome)
        assert (image.grey_CHW == 7).all()


def test_what_no_file_can_say_costs_one_file() -> None:
    names = [name for misdeed in IMPOSSIBLE for name in (misdeed, "good")]
    outcomes = read_by("strange_reader", *names)
    for misdeed, bad, after in zip(IMPOSSIBLE, outcomes[::2], outcomes[1::2], strict=True):
        assert isinstance(bad, Unreadable), misdeed
        assert bad.reason == "the reading process said what it can't have read", misdeed
        assert (images(after)[0].grey_CHW == 7).all()


def test_as_much_as_a_file_can_say_is_heard() -> None:
    frames, findings = read_by("strange_reader", "all-frames", "most-findings")
    assert [image.facts.frame for image in images(frames)] == [0, 1, 2]
    assert not isinstance(findings, Unreadable)
    assert len(findings) == bounds.MAX_FINDINGS


def test_a_readers_reason_fits_a_line() -> None:
    (outcome,) = read_by("strange_reader", "control")
    assert reason(outcome).startswith("[31mredlinexxx")
    assert len(reason(outcome)) < 200


def test_a_reading_that_fails_has_a_reason_and_the_reader_goes_on() -> None:
    limits = Limits(memory_bytes=256 << 20)
    names = ("memory", "bug", "write", "talk", "say")
    memory, bug, write_, talk, say = read_by("limited_reader", *names, limits=limits)
    assert reason(memory) == "the file needs more memory than it may have"
    assert reason(bug) == "damaged (KeyError)"
    assert reason(write_) == "damaged (OSError)"
    assert reason(talk) == "the texts in the file's header are too long"
    assert say == (Finding(sop_instance_uid="1.2.3", code="SCT:1", flaws=()),)


def test_an_endless_loop_costs_one_file() -> None:
    bad, after = read_by("limited_reader", "loop", "say", limits=Limits(cpu_s=0.5))
    assert reason(bad) == "reading the file takes too much processor time"
    assert not isinstance(after, Unreadable)


def test_a_pool_that_is_left_does_not_wait_for_a_reading() -> None:
    with ReaderPool.opened(
        RECIPE, num_workers=1, command=reader("tests.client.reading.limited_reader")
    ) as pool:
        outcomes = pool.read([Path("/say"), *[Path("/sleep")] * 20])
        assert not isinstance(next(outcomes), Unreadable)
        (number,) = pool.process_ids
    assert not Path(f"/proc/{number}").exists()


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


def test_a_reader_that_is_killed_costs_the_file_that_it_reads() -> None:
    command = reader("tests.client.reading.limited_reader")
    with ReaderPool.opened(RECIPE, num_workers=1, command=command) as pool:
        outcomes = pool.read(paths_and_a_kill(pool))
        assert [isinstance(outcome, Unreadable) for outcome in outcomes] == [False, True, False]
        assert pool.num_lost == 1


def paths_and_a_kill(pool: ReaderPool) -> Iterator[Path]:
    yield Path("/say")
    yield Path("/sleep")
    time.sleep(0.5)  # by then it sleeps over its file
    (number,) = pool.process_ids
    os.kill(number, signal.SIGKILL)
    yield Path("/say")


def test_a_reader_that_is_killed_while_idle_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "image.dcm", image_dataset())
    with ReaderPool.opened(RECIPE, num_workers=1, look_for_text=False) as pool:
        (number,) = pool.process_ids
        os.kill(number, signal.SIGKILL)
        while state(number) not in ("Z", ""):
            time.sleep(0.01)
        (outcome,) = pool.read([path])
        assert pool.num_lost == 0
    assert len(images(outcome)) == 1


def state(number: int) -> str:
    """Return the state of a process by its letter, empty if it is gone."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("busy", [False, True])
def test_readers_end_with_a_killed_parent(busy: bool) -> None:
    script = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from fed_client.reading.pool import ReaderPool\n"
        "from fed_common.task import Recipe\n"
        f"command = {reader('tests.client.reading.limited_reader')!r}\n"
        "with ReaderPool.opened(Recipe(), num_workers=1, command=command) as pool:\n"
        "    print(pool.process_ids[0], flush=True)\n"
        f"    list(pool.read([Path('/sleep')])) if {busy} else time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while state(number) not in ("Z", ""):
        assert time.monotonic() < deadline, "the reader outlived its parent"
        time.sleep(0.02)


def test_a_reader_that_does_not_start_is_the_operators_business() -> None:
    with (
        pytest.raises(MachineError, match="doesn't start"),
        ReaderPool.opened(RECIPE, num_workers=1, command=("/bin/false",)),
    ):
        pass


def test_the_reading_process_limits_itself() -> None:
    with ReaderPool.opened(RECIPE, num_workers=1, limits=Limits(memory_bytes=1 << 30)) as pool:
        (number,) = pool.process_ids
        limits = Path(f"/proc/{number}/limits").read_text().splitlines()
        status = Path(f"/proc/{number}/status").read_text()
    hard = {line[:26].strip(): line[26:].split()[1] for line in limits[1:]}
    assert hard["Max core file size"] == hard["Max file size"] == "0"
    assert int(hard["Max open files"]) <= 64
    assert 1 << 30 < int(hard["Max address space"]) < 8 << 30
    assert "NoNewPrivs:\t1" in status


def test_the_reading_process_knows_nothing_of_secrets_or_training() -> None:
    program = "import fed_client.reading.worker, json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True)
    loaded = set(json.loads(ran.stdout))
    secrets = {"fed_client.deidentification", "fed_client.dataset", "fed_common.signing", "cryptography"}
    assert "fed_client.reading.dicom" in loaded
    assert not loaded & (secrets | {"torch", "opacus", "flwr", "socket.socket"})


def test_the_environment_of_the_parent_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FED_SECRET", "CANARY7341")
    (outcome,) = read_by("limited_reader", "environment")
    assert not isinstance(outcome, Unreadable)
    names = {item.code.removeprefix("ENV:") for item in outcome if isinstance(item, Finding)}
    assert "PATH" in names
    assert names <= {*process._ENVIRONMENT, "LC_CTYPE"}
