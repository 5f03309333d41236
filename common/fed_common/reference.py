"""What a run is compared with: models trained without the federation, judged on the same public images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fed_common import canonical
from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.files import write_atomically
from fed_common.names import Digest
from fed_common.scoring import TestFigures

ReferenceKind = Literal["pooled", "local"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One unprotected model: of all hospitals' images pooled, or of a single hospital's."""

    kind: ReferenceKind
    label: str
    figures: TestFigures


@dataclass(frozen=True, kw_only=True)
class References:
    """All references for one task."""

    task: Digest
    models: tuple[Reference, ...]

    def of_kind(self, kind: ReferenceKind) -> tuple[Reference, ...]:
        """Return the references of one kind."""
        return tuple(model for model in self.models if model.kind == kind)


def save_references(path: Path, references: References) -> None:
    """Write the references as canonical JSON."""
    write_atomically(path, canonical.encode(references) + b"\n")


def load_references(path: Path, *, task: Digest) -> References:
    """Return the references in `path`.

    Raises:
        ConfigError: the file is missing, damaged, or of another task.
    """
    try:
        references = canonical.decode(path.read_bytes().rstrip(b"\n"), References)
    except (OSError, MalformedMessageError) as error:
        raise ConfigError(f"{path}: not a file of references; `fed-sim baseline` writes one") from error
    if references.task != task:
        raise ConfigError(f"{path}: these references belong to another task")
    return references
