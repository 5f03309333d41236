"""How far an audit log has come: the only thing of it that travels, in every plan and every answer."""

import re
from dataclasses import dataclass

from fed_common.audit_log.merkle import EMPTY, Frontier
from fed_common.errors import ConfigError
from fed_common.names import Digest


@dataclass(frozen=True, kw_only=True)
class LogHead:
    """The number of a log's entries, and the root of their Merkle tree; whoever signs it can't go back."""

    size: int
    root: Digest

    def __post_init__(self) -> None:
        if not self.size >= 0:
            raise ConfigError(f"a log's size must be at least 0, got {self.size}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.root):
            raise ConfigError(f"a log's root must be 64 hexadecimal digits, got {self.root[:80]!r}")

    @classmethod
    def of(cls, tree: Frontier) -> "LogHead":
        """Return the head of a log with that tree."""
        return cls(size=tree.size, root=Digest(tree.root.hex()))


EMPTY_LOG = LogHead.of(EMPTY)
