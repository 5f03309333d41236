"""Keeps an audit log on disk: one durable line an event, from several processes, cheap however long it is.

A line is on disk when `write` returns. What a crash has torn is cut off, because no head has told of it.
"""

import os
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from fed_common.audit_log.entry import Actor, Entry, Line, decode_lines, next_entry
from fed_common.audit_log.facts import Fact
from fed_common.audit_log.head import LogHead
from fed_common.audit_log.merkle import EMPTY, Frontier
from fed_common.errors import MachineError, TrustError
from fed_common.files import append_durably, locked, write_atomically


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was read so far: up to which byte, the bytes of the last line, its entry, and the tree."""

    offset: int = 0
    line: bytes = b""
    last: Entry | None = None
    tree: Frontier = EMPTY


class AuditLog:
    """The log at `path`; nothing is read before it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _Known()
        self._one_at_a_time = threading.Lock()

    def write(self, actor: Actor, fact: Fact) -> None:
        """Append a fact; it is on disk when this returns.

        Raises:
            TrustError: the log on disk was altered.
            MachineError: the disk refuses it.
        """
        with self._one_at_a_time, self._locked():
            self._catch_up(mend=True)
            entry = next_entry(self._known.last, ts=int(time.time()), actor=actor, fact=fact)
            append_durably(self.path, Line(entry=entry, fact=fact).encode() + b"\n")
            self._catch_up()

    def head(self) -> LogHead:
        """Return how far the log has come.

        Raises:
            TrustError: the log on disk was altered.
            MachineError: it can't be locked.
        """
        # A line that another process is writing may be taken back; of a head nothing can be.
        with self._one_at_a_time, self._locked():
            self._catch_up()
            return LogHead.of(self._known.tree)

    def read(self) -> tuple[Line, ...]:
        """Return the whole log, checked; a last line that a crash has torn is left out.

        Raises:
            TrustError: a line doesn't hold; its number is named.
        """
        return tuple(decode_lines(self._bytes(0).split(b"\n")[:-1]))

    def forget(self, *, before: int) -> int:
        """Take the facts out of all entries older than `before`, in seconds since 1970; return how many.

        Raises:
            TrustError: a line doesn't hold.
            MachineError: the disk refuses; nothing is lost.
        """
        with self._one_at_a_time, self._locked():
            lines = self.read()
            kept = [Line(entry=line.entry, fact=None) if line.entry.ts < before else line for line in lines]
            write_atomically(self.path, b"".join(line.encode() + b"\n" for line in kept), private=True)
            self._known = _Known()
        return sum(was.fact is not None and now.fact is None for was, now in zip(lines, kept, strict=True))

    def _catch_up(self, *, mend: bool = False) -> None:
        """Read what was appended, by whichever process; with `mend`, cut off what a crash left of a line.

        Raises:
            TrustError: what was read before isn't there any more.
        """
        before = known = self._known
        raw = self._bytes(known.offset - len(known.line))
        if not raw.startswith(known.line):  # facts were let go, so everything has moved
            known, raw = _Known(), self._bytes(0)
        new = raw[len(known.line) : raw.rfind(b"\n") + 1]
        tree, last, seen = known.tree, known.last, known is before or before.last is None
        for line in decode_lines(new.split(b"\n")[:-1], after=last):
            tree, last = tree.and_then(line.entry.leaf), line.entry
            seen = seen or tree == before.tree
        if not seen:
            raise TrustError(f"{self.path}: entries that were there before are gone, or are others")
        if new:
            end = new[new.rfind(b"\n", 0, -1) + 1 :]
            self._known = _Known(offset=known.offset + len(new), line=end, last=last, tree=tree)
        if mend and not raw.endswith(b"\n") and raw:
            os.truncate(self.path, self._known.offset)

    def _bytes(self, offset: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise MachineError(f"{self.path}: can't be read ({error.strerror})") from error

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path.with_suffix(".lock"))
