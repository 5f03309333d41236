"""One entry of an audit log, and its line: who did what when, the digest of the rest, and the entry before.

    {"entry":{"actor":...,"data":...,"event":...,"prev":...,"seq":...,"ts":...},"fact":{...}}

The chain and the tree are of entries alone. So a fact whose time is over can be taken out of its line, which
leaves `null`, and every proof holds as before.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from fed_common import canonical
from fed_common.audit_log.facts import FACTS, Fact
from fed_common.audit_log.merkle import leaf_hash
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.names import NAME_PATTERN, Digest, SiteName, digest_of

FIRST = Digest("0" * 64)
_LINE = re.compile(rb'\{"entry":(?P<entry>\{[^{}]*\}),"fact":(?P<fact>null|\{.*\})\}')

# A site goes by its name.
Actor = SiteName | Literal["coordinator", "stranger"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is chained: `ts` in seconds since 1970, `data` the fact's digest, `prev` the entry before's."""

    seq: int
    ts: int
    actor: str
    event: str
    data: Digest
    prev: Digest

    @property
    def digest(self) -> Digest:
        """Identify the entry for the next one."""
        return canonical.digest(self)

    @property
    def leaf(self) -> bytes:
        """Return the hash that stands for it in the tree."""
        return leaf_hash(canonical.encode(self))


@dataclass(frozen=True, kw_only=True)
class Line:
    """An entry with its fact, or None where that was let go."""

    entry: Entry
    fact: Fact | None

    def encode(self) -> bytes:
        """Return the line without its end."""
        fact = canonical.encode(self.fact) if self.fact is not None else b"null"
        return b'{"entry":%s,"fact":%s}' % (canonical.encode(self.entry), fact)


def next_entry(before: Entry | None, *, ts: int, actor: Actor, fact: Fact) -> Entry:
    """Return the entry that follows `before`, or the first one."""
    seq, prev = (before.seq + 1, before.digest) if before else (0, FIRST)
    return Entry(
        seq=seq, ts=ts, actor=actor, event=type(fact).__name__, data=canonical.digest(fact), prev=prev
    )


def decode_lines(raw: Iterable[bytes], *, after: Entry | None = None) -> Iterator[Line]:
    """Yield the lines that follow the entry `after`, each checked to follow the one before it.

    Raises:
        TrustError: an entry or its fact was altered, or one is missing; its number is named.
    """
    before = after
    for number, text in enumerate(raw, start=after.seq + 1 if after else 0):
        try:
            line = _decode(text)
        except MalformedMessageError as error:
            raise TrustError(f"audit log, entry {number}: {error}") from error
        expected = before.digest if before else FIRST
        if (line.entry.seq, line.entry.prev) != (number, expected):
            raise TrustError(f"audit log, entry {number}: does not follow the entry before it")
        yield line
        before = line.entry


def _decode(text: bytes) -> Line:
    form = _LINE.fullmatch(text)
    if form is None:
        raise MalformedMessageError("no line of an audit log")
    entry = canonical.decode(form["entry"], Entry)
    kind = FACTS.get(entry.event)
    if kind is None or not re.fullmatch(NAME_PATTERN, entry.actor):
        raise MalformedMessageError("an unknown event, or an actor that is no name")
    if form["fact"] == b"null":
        return Line(entry=entry, fact=None)
    if digest_of(form["fact"]) != entry.data:
        raise MalformedMessageError("its fact is not the one that was written")
    return Line(entry=entry, fact=canonical.decode(form["fact"], kind))
