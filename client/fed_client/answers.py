"""The answers a site has given, kept so that a plan asked twice gets the same bytes at no cost."""

from dataclasses import dataclass
from pathlib import Path

from fed_common.files import write_atomically
from fed_common.names import Bytes, RunId
from fed_common.plans import Phase

ROUNDS_KEPT = 2


@dataclass(frozen=True)
class AnswerStore:
    """A folder with one file per run, round and phase; only post-noise, sealed bytes are ever in it."""

    folder: Path

    def keep(self, run: RunId, round_number: int, phase: Phase, message: Bytes) -> None:
        """Put the answer on disk before it is sent, and forget those of rounds long past.

        Raises:
            MachineError: it can't be written; then it must not be sent either.
        """
        write_atomically(self._path(run, round_number, phase), message)
        for old in self.folder.glob("*.answer"):
            past_run = not old.name.startswith(f"{run}.")
            if past_run or int(old.name.split(".")[1]) <= round_number - ROUNDS_KEPT:
                old.unlink(missing_ok=True)

    def find(self, run: RunId, round_number: int, phase: Phase) -> bytes | None:
        """Return the bytes that were sent, or None where no answer was made."""
        try:
            return self._path(run, round_number, phase).read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, run: RunId, round_number: int, phase: Phase) -> Path:
        return self.folder / f"{run}.{round_number:06d}.{phase}.answer"
