"""The checkpoints that a round goes on from: each plan names all of them, so that none can be exchanged."""

from dataclasses import dataclass, field
from pathlib import Path

from fed_common import canonical
from fed_common.checkpoint import folder_name, load_manifest
from fed_common.names import Digest
from fed_common.signing import VerifyingKey


@dataclass(frozen=True)
class Lineage:
    """What is published in the folder of a run's checkpoints."""

    folder: Path
    key: VerifyingKey
    _known: dict[int, Digest] = field(default_factory=dict)

    def before(self, number: int) -> tuple[Digest, ...]:
        """Return the digests of the checkpoints of rounds 0 to `number` - 1.

        Raises:
            TrustError: one is missing, or isn't the coordinator's.
            MalformedMessageError: one has another form.
        """
        return tuple(self._digest(earlier) for earlier in range(number))

    def _digest(self, number: int) -> Digest:
        if number not in self._known:
            self._known[number] = canonical.digest(load_manifest(self.folder / folder_name(number), self.key))
        return self._known[number]
