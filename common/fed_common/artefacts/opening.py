"""Opens a released model from its folder, and remembers which release that was."""

import time
from pathlib import Path

from fed_common import canonical
from fed_common.artefacts.envelope import MAX_ENVELOPE_BYTES
from fed_common.artefacts.model_release import RELEASE_FILE, ModelRelease
from fed_common.artefacts.root import ModelRoot
from fed_common.artefacts.tensors import read_model_file
from fed_common.artefacts.trusted_model_set import Accepted, TrustedModelSet
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE, Checkpoint
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.layout import layout_of
from fed_common.models import build_model, spec_for
from fed_common.task import Task


def open_released(
    folder: Path, root: ModelRoot, *, task: Task, memory: Path | None = None, now: float | None = None
) -> tuple[ModelRelease, Checkpoint]:
    """Return the released model in `folder`; with a `memory`, no older release passes afterwards.

    Raises:
        TrustError: it must not be used, or the memory is damaged.
        MalformedMessageError: a file has another form.
        MachineError: the memory can't be written; the model must not be used.
    """
    trusted = TrustedModelSet(
        root, task=task, last=_remembered(memory), now=time.time() if now is None else now
    )
    release = trusted.update_release(_read(folder / RELEASE_FILE))
    trusted.update_manifest(_read(folder / MANIFEST_FILE))
    layout = layout_of(build_model(spec_for(task)))
    model = trusted.load_model(read_model_file(folder / MODEL_FILE, layout))
    if memory is not None:
        write_atomically(memory, canonical.encode(trusted.accepted))
    return release, model


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ENVELOPE_BYTES + 1)
    except OSError as error:
        raise TrustError(f"{path.parent}: not a released model, no {path.name} ({error.strerror})") from error


def _remembered(memory: Path | None) -> Accepted | None:
    if memory is None:
        return None
    try:
        return canonical.decode(memory.read_bytes(), Accepted)
    except FileNotFoundError:
        return None
    except (OSError, MalformedMessageError) as error:
        raise TrustError(f"{memory}: unreadable, so nobody knows which release was accepted last") from error
