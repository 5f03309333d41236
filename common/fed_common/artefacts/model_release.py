"""The coordinator's word that a model is let go: which number it has, until when, and on what ground.

It is a statement of its own beside the co-signed manifest: its date can be renewed without asking the sites.
"""

from dataclasses import dataclass

from fed_common.audit import Release
from fed_common.audit_log.head import LogHead
from fed_common.errors import ConfigError
from fed_common.names import Digest, RunId

RELEASE_FILE = "release.json"


@dataclass(frozen=True, kw_only=True)
class ModelRelease:
    """One released model of a federation; numbers only go up, `expires` is in seconds since 1970.

    `manifest` is the digest of the file `manifest.json`, so that no signature in it can be exchanged either.
    `log` is the head of the coordinator's audit log: whoever holds the model can hold the coordinator to it.
    """

    federation: str
    number: int
    run: RunId
    manifest: Digest
    expires: int
    ground: Release
    log: LogHead

    def __post_init__(self) -> None:
        if not self.number >= 1:
            raise ConfigError(f"a release's number must be at least 1, got {self.number}")
