"""What an owner hands out of an audit log: a signed copy, or the proof of one entry or of having only grown.

Whoever holds the owner's public key can check each, and needs nothing else.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fed_common import signed_fact
from fed_common.audit_log.entry import Entry, Line, decode_lines
from fed_common.audit_log.head import LogHead
from fed_common.audit_log.merkle import (
    Frontier,
    prove_consistency,
    prove_inclusion,
    root,
    verify_consistency,
    verify_inclusion,
)
from fed_common.canonical import Fact
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.names import Digest
from fed_common.signing import SigningKey, VerifyingKey


@dataclass(frozen=True, kw_only=True)
class LogExport:
    """A whole log as its owner signed it."""

    owner: str
    exported: int
    head: LogHead
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InclusionProof:
    """Shows that an entry is in the log with that head; `path` are hashes in hexadecimal."""

    owner: str
    entry: Entry
    head: LogHead
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ConsistencyProof:
    """Shows that the log with the head `first` grew into the one with `head`, and nothing was exchanged."""

    owner: str
    first: LogHead
    head: LogHead
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CheckedLog:
    """A log of which every entry was checked; `owner` is a site or the coordinator."""

    owner: str
    lines: tuple[Line, ...]

    @cached_property
    def _roots(self) -> list[bytes]:
        """Return the root of the tree at each size."""
        tree, roots = Frontier(), [Frontier().root]
        for line in self.lines:
            tree = tree.and_then(line.entry.leaf)
            roots.append(tree.root)
        return roots

    @property
    def head(self) -> LogHead:
        """Return how far the log has come."""
        return LogHead(size=len(self.lines), root=Digest(self._roots[-1].hex()))

    def contains(self, head: LogHead) -> bool:
        """Tell whether the log had that head once."""
        return head.size <= len(self.lines) and self._roots[head.size].hex() == head.root


def export_log(log: CheckedLog, key: SigningKey) -> bytes:
    """Return a signed copy of the log."""
    export = LogExport(
        owner=log.owner,
        exported=int(time.time()),
        head=log.head,
        lines=tuple(line.encode().decode("ascii") for line in log.lines),
    )
    return signed_fact.sign(export, key) + b"\n"


def prove_entry(log: CheckedLog, seq: int, key: SigningKey) -> bytes:
    """Return the signed proof that the log has its entry `seq`.

    Raises:
        ConfigError: it has none.
    """
    if not 0 <= seq < len(log.lines):
        raise ConfigError(f"entry must be in [0, {len(log.lines) - 1}], got {seq}")
    path = prove_inclusion(_leaves(log), seq)
    proof = InclusionProof(
        owner=log.owner,
        entry=log.lines[seq].entry,
        head=log.head,
        path=_hex(path),
    )
    return signed_fact.sign(proof, key) + b"\n"


def prove_growth(log: CheckedLog, size: int, key: SigningKey) -> bytes:
    """Return the signed proof that the log grew out of its first `size` entries.

    Raises:
        ConfigError: it has fewer.
    """
    if not 0 <= size <= len(log.lines):
        raise ConfigError(f"size must be in [0, {len(log.lines)}], got {size}")
    leaves = _leaves(log)
    proof = ConsistencyProof(
        owner=log.owner,
        first=LogHead(size=size, root=Digest(root(leaves[:size]).hex())),
        head=log.head,
        path=_hex(prove_consistency(leaves, size)),
    )
    return signed_fact.sign(proof, key) + b"\n"


def read_handed_out(
    raw: bytes, keys: Iterable[VerifyingKey]
) -> tuple[CheckedLog | InclusionProof | ConsistencyProof, VerifyingKey]:
    """Return what a file holds, once everything that it states was checked, and whose key has signed it.

    Raises:
        TrustError: it isn't signed with one of `keys`, or doesn't hold.
        MalformedMessageError: it is signed, and no such thing.
    """
    line = raw.removesuffix(b"\n")
    for key in keys:
        if (export := _signed(line, LogExport, key)) is not None:
            return _checked_log(export), key
        if (entry := _signed(line, InclusionProof, key)) is not None:
            return _checked_entry(entry), key
        if (growth := _signed(line, ConsistencyProof, key)) is not None:
            return _checked_growth(growth), key
    raise TrustError("nothing of an audit log that one of the known keys has signed; name another with --key")


def _checked_log(export: LogExport) -> CheckedLog:
    lines = tuple(decode_lines(line.encode("ascii", "replace") for line in export.lines))
    log = CheckedLog(owner=export.owner, lines=lines)
    if log.head != export.head:
        raise TrustError("the export states another head than its entries have")
    return log


def _checked_entry(proof: InclusionProof) -> InclusionProof:
    verify_inclusion(
        proof.entry.leaf,
        _bytes(proof.path),
        index=proof.entry.seq,
        size=proof.head.size,
        root=bytes.fromhex(proof.head.root),
    )
    return proof


def _checked_growth(proof: ConsistencyProof) -> ConsistencyProof:
    verify_consistency(
        _bytes(proof.path),
        first=proof.first.size,
        first_root=bytes.fromhex(proof.first.root),
        second=proof.head.size,
        second_root=bytes.fromhex(proof.head.root),
    )
    return proof


def _signed(line: bytes, kind: type[Fact], key: VerifyingKey) -> Fact | None:
    try:
        return signed_fact.verify(line, kind, key)
    except TrustError:  # what is signed as another kind isn't signed as this one
        return None


def _leaves(log: CheckedLog) -> list[bytes]:
    return [line.entry.leaf for line in log.lines]


def _bytes(path: tuple[str, ...]) -> tuple[bytes, ...]:
    try:
        return tuple(bytes.fromhex(node) for node in path)
    except ValueError as error:
        raise MalformedMessageError("a proof's hashes must be hexadecimal") from error


def _hex(path: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(node.hex() for node in path)
