"""Where a run lives on disk: `runs/<id>/` with its journal, its checkpoints, and in the end the result.

runs/current                    the id of the run that `start` goes on with
runs/<id>/journal.jsonl         what happened
runs/<id>/checkpoints/0007/     signed model after round 7
runs/<id>/candidate             the model of a round that isn't published yet
runs/<id>/start/                the checkpoint that the run began with, if it began with one
runs/<id>/model.safetensors, manifest.json, report.html
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.envelope import Envelope
from fed_common.checkpoint import SitePrivacy
from fed_common.errors import MachineError
from fed_common.files import write_atomically
from fed_common.names import RunId, run_id
from fed_common.signing import VerifyingKey
from fed_server.journal import Journal


@dataclass(frozen=True)
class RunFolder:
    """One run's files."""

    root: Path
    run: RunId

    @classmethod
    def current(cls, root: Path) -> Self | None:
        """Return the run that was begun last, or None."""
        try:
            return cls(root, run_id((root / "current").read_text().strip()))
        except FileNotFoundError:
            return None

    @classmethod
    def all_in(cls, root: Path) -> tuple[Self, ...]:
        """Return every run that has a journal, by their ids."""
        return tuple(cls(root, RunId(path.parent.name)) for path in sorted(root.glob("*/journal.jsonl")))

    @classmethod
    def begin(cls, root: Path, name: str, *, start: Path | None = None) -> Self:
        """Make the folder of a new run and remember it as the current one.

        With a `start`, a checkpoint's folder, the run begins with that model, of which it keeps a copy.

        Raises:
            MachineError: the disk refuses it.
            TrustError: the checkpoint isn't whole.
        """
        folder = cls(root, run_id(f"{name}-{secrets.token_hex(4)}"))
        previous = cls.current(root)
        try:
            folder.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise MachineError(f"{folder.path}: can't be made ({error.strerror})") from error
        if previous is not None:
            write_atomically(folder.path / "previous", previous.run.encode() + b"\n")
        if start is not None:
            checkpoints.copy(start, folder.start)
        write_atomically(root / "current", folder.run.encode() + b"\n")
        return folder

    @property
    def path(self) -> Path:
        """Return the run's folder."""
        return self.root / self.run

    @property
    def journal(self) -> Journal:
        """Return the run's diary."""
        return Journal(self.path / "journal.jsonl")

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the signed models, one per round."""
        return self.path / "checkpoints"

    def checkpoint(self, number: int) -> Path:
        """Return the folder of the model after round `number`."""
        return self.checkpoints / checkpoints.folder_name(number)

    @property
    def candidate(self) -> Path:
        """Return the file that holds a round's candidate until its checkpoint is published."""
        return self.path / "candidate"

    @property
    def start(self) -> Path:
        """Return the folder of the checkpoint that the run began with; most runs have none."""
        return self.path / "start"

    @property
    def finished(self) -> bool:
        """Tell whether all rounds were published and the result presented."""
        return (self.path / checkpoints.MANIFEST_FILE).exists()

    @property
    def report(self) -> Path:
        """Return where the report is written."""
        return self.path / "report.html"

    def inherited(self, key: VerifyingKey) -> tuple[SitePrivacy, ...]:
        """Return what each site stated last in the run before this one, so that no ledger can go back.

        Raises:
            TrustError: that run's last checkpoint isn't the coordinator's.
        """
        try:
            previous = RunFolder(self.root, run_id((self.path / "previous").read_text().strip()))
        except FileNotFoundError:
            return ()
        last = checkpoints.latest(previous.checkpoints)
        return checkpoints.load_manifest(last, key).sites if last else previous.inherited(key)

    def present_result(self, manifest: Envelope) -> None:
        """Put the last checkpoint's model beside the report, and `manifest` with all its signatures."""
        last = checkpoints.latest(self.checkpoints)
        if last is None:
            return
        write_atomically(self.path / checkpoints.MODEL_FILE, (last / checkpoints.MODEL_FILE).read_bytes())
        write_atomically(self.path / checkpoints.MANIFEST_FILE, manifest.encode())
