"""Lives that end by kill -9 at a write, and what a site makes of it when it starts again; run as a script.

For each write that a life makes, a process of its own lives in a fresh folder and kills itself before it, or
in the middle of an appended line; a second one starts on what is left. One line of JSON tells what both did.
Nothing of the program is exchanged: the interpreter's profiler sees the writes coming.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, product
from pathlib import Path
from types import FrameType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tests.fakes import (
    EVALUATE,
    NORTH,
    OFFICER_KEYS,
    POLICY,
    SITE_KEYS,
    costliest_round,
    opened_site,
    plan_of,
    sealed,
)

from fed_common import files
from fed_common.errors import LedgerError
from fed_common.ledger_record import LedgerRecord
from fed_common.ledger_reset import reset_ledger, sign_reset
from fed_common.messages import AnswerStatement, unseal
from fed_common.names import RunId
from fed_common.randomness import SystemRandomness

Moment = Literal["before", "torn"]
WRITES = {"write", "fsync", "replace", "ftruncate", "unlink"}


@dataclass(frozen=True, kw_only=True)
class Lives:
    """What two lives of a site did; `touches` are draws of noise for the first round, in both."""

    scenario: str
    moment: Moment
    write: int
    killed: bool
    opens: bool
    recorded: int
    touches: int
    again: str
    next_round: str


@dataclass
class TellingRandomness(SystemRandomness):
    """Writes a byte to `path` before each draw: who drew has touched the patients."""

    path: Path = Path()

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b".")
        os.close(descriptor)
        super().add_noise(exact_N, std=std)


def die_at(number: int, moment: Moment) -> None:
    """Make this process kill itself at the `number`-th write of that kind that `fed_common.files` makes."""
    seen = 0

    def watch(frame: FrameType, event: str, called: object) -> None:
        nonlocal seen
        if event != "c_call" or called.__name__ not in WRITES or not _by_files(frame):  # type: ignore[attr-defined]
            return
        if moment == "torn" and called is not os.write:
            return
        seen += 1
        if seen == number:
            if moment == "torn":
                line = frame.f_locals["line"]
                os.write(frame.f_locals["descriptor"], line[: len(line) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def _by_files(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == files.__file__:
            return True
        frame = frame.f_back
    return False


def answered(folder: Path, *, run: str = "run-1") -> str:
    """Ask for a round, and return "sent" or the code of the refusal."""
    randomness = TellingRandomness(path=folder / ("touched" if run == "run-1" else "others"))
    with opened_site(folder, randomness=randomness) as site:
        message = site.answer(sealed(replace(plan_of(EVALUATE), run=RunId(run))))
    refusal = unseal(message, AnswerStatement, SITE_KEYS[NORTH].verifying_key)[0].refusal
    return refusal.code if refusal else "sent"


def nothing(folder: Path) -> None:
    """Begin without a past."""


def torn_past(folder: Path) -> None:
    """Begin after a power cut in the middle of a second line."""
    answered(folder, run="run-0")
    ledger = folder / "ledger" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes() + ledger.read_bytes()[:100])


def spent_past(folder: Path) -> None:
    """Begin with one line in the ledger."""
    answered(folder, run="run-0")


def ask(folder: Path) -> None:
    answered(folder)


def reset(folder: Path) -> None:
    ledger = folder / "ledger" / "ledger.jsonl"
    head = LedgerRecord.read(ledger, SITE_KEYS[NORTH].verifying_key).head
    opening = sign_reset(OFFICER_KEYS[NORTH], site=NORTH, replaces=head, reason="a new year")
    reset_ledger(ledger, opening, witness=folder / "witness" / "head.json", key=SITE_KEYS[NORTH])


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "answer": (nothing, ask),
    "mend": (torn_past, ask),
    "reset": (spent_past, reset),
}


def in_a_process(work: Callable[[], None]) -> int:
    """Return the wait status of a forked process that did `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the outermost frame of a process
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def first_life(folder: Path, life: Callable[[Path], None], *, number: int, moment: Moment) -> None:
    die_at(number, moment)
    life(folder)
    sys.setprofile(None)


def second_life(folder: Path) -> None:
    result = {"opens": True, "recorded": 0, "again": "", "next_round": ""}
    try:
        with opened_site(folder) as site:
            result["recorded"] = len(site.ledger.record.digests)
        result["again"] = answered(folder)
        result["next_round"] = answered(folder, run="run-2")
    except LedgerError as error:
        result |= {"opens": False, "again": str(error)}
    (folder / "second.json").write_text(json.dumps(result))


def two_lives(folder: Path, scenario: str, *, number: int, moment: Moment) -> Lives:
    past, life = SCENARIOS[scenario]
    folder.mkdir(parents=True)
    succeed(partial(past, folder))
    status = in_a_process(partial(first_life, folder, life, number=number, moment=moment))
    killed = os.WIFSIGNALED(status)
    if not killed and status != 0:
        raise SystemExit(f"{folder.name}: the first life failed")
    succeed(partial(second_life, folder))
    touched = folder / "touched"
    return Lives(
        scenario=scenario,
        moment=moment,
        write=number,
        killed=killed,
        touches=touched.stat().st_size if touched.exists() else 0,
        **json.loads((folder / "second.json").read_text()),
    )


def succeed(work: Callable[[], None]) -> None:
    if in_a_process(work) != 0:
        raise SystemExit("a life that nobody ended failed")


def main(root: Path) -> None:
    costliest_round(POLICY)  # once, before it is forked
    SystemRandomness().add_noise(np.zeros(1), std=1.0)  # compiles
    moments: tuple[Moment, ...] = ("before", "torn")
    for scenario, moment in product(SCENARIOS, moments):
        for number in count(1):
            told = two_lives(root / f"{scenario}-{moment}-{number}", scenario, number=number, moment=moment)
            sys.stdout.write(json.dumps(asdict(told)) + "\n")
            sys.stdout.flush()
            if not told.killed:
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
