"""Counts whom a door turns away, and tells the audit log so seldom that no knocking can fill the disk.

The first refusal of a kind is written within a second; while more come, the next line with their number
follows after two seconds, then four, up to an hour. Counting touches no disk, so that it holds up nobody.
"""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from fed_common.audit_log.entry import Actor
from fed_common.audit_log.facts import RefusedCode, RequestsRefused
from fed_common.audit_log.log import AuditLog
from fed_common.errors import FedError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 3600.0

_Kind = tuple[Actor, RefusedCode]


@dataclass
class _Pause:
    """When the next line of a kind may be written, and how long the pause after it is."""

    until: float = 0.0
    length_s: float = FIRST_PAUSE_S


@dataclass(kw_only=True)
class Refusals:
    """The refusals of one door; `log` is None where nobody keeps one."""

    log: AuditLog | None
    clock: Callable[[], float] = time.monotonic
    _waiting: Counter[_Kind] = field(default_factory=Counter)
    _pauses: defaultdict[_Kind, _Pause] = field(default_factory=lambda: defaultdict(_Pause))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, code: RefusedCode, *, actor: Actor) -> None:
        """Count one refusal; from any thread."""
        with self._lock:
            self._waiting[actor, code] += 1

    def tell(self, *, everything: bool = False) -> None:
        """Write what may be written now, or everything; that the disk refuses is told to the operator."""
        with self._lock:
            due = [kind for kind in self._waiting if everything or self._due(kind)]
            counted = {kind: self._waiting.pop(kind) for kind in due}
        for (actor, code), count in counted.items():
            try:
                if self.log is not None:
                    self.log.write(actor, RequestsRefused(code=code, count=count))
            except FedError as error:
                logger.error("the audit log can't be written: %s", error)

    def _due(self, kind: _Kind) -> bool:
        """Tell whether a line of this kind may be written now; if so, the next pause begins."""
        now, pause = self.clock(), self._pauses[kind]
        if now < pause.until:
            return False
        if now > pause.until + LONGEST_PAUSE_S:
            pause.length_s = FIRST_PAUSE_S
        pause.until = now + pause.length_s
        pause.length_s = min(2 * pause.length_s, LONGEST_PAUSE_S)
        return True
