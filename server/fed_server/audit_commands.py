"""`fed-server audit`: the coordinator's log, held against the journals and the register."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fed_common import canonical
from fed_common.audit_log.commands import Owner, audit_commands
from fed_common.audit_log.comparison import COORDINATOR
from fed_common.audit_log.facts import Fact, JournalWritten, RegisterWritten
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.audit_log.log import AuditLog
from fed_server.config import audit_log_in, load_trust_files
from fed_server.registry.keys import IdentityKeys
from fed_server.registry.registry import Registry
from fed_server.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class _Book:
    """A journal, or a site's page of the register: what is in it, and what the log vouches for."""

    name: str
    found: Sequence[Fact]
    logged: Sequence[Fact]


def coordinator_of(config: Path) -> Owner:
    """Return the coordinator that federation.toml names."""
    trust = load_trust_files(config)
    registry = trust.open_registry()
    keys = IdentityKeys(registry)
    log = audit_log_in(trust.runs)
    return Owner(
        name=COORDINATOR,
        log=log,
        key=registry.key,
        others={str(site): key for site, key in keys.items()},
        missing=lambda read: [*_differences([*_journals(read, trust.runs), *_register(read, registry)], log)],
    )


app = audit_commands(coordinator_of, config_file="federation.toml")


def _journals(log: CheckedLog, runs: Path) -> Iterator[_Book]:
    """Yield the journals; a run whose folder was taken away isn't missed."""
    facts = [line.fact for line in log.lines if isinstance(line.fact, JournalWritten)]
    for folder in RunFolder.all_in(runs):
        found = [JournalWritten(run=folder.run, line=line) for line in folder.journal.digests()]
        logged = [fact for fact in facts if fact.run == folder.run]
        yield _Book(name=f"the journal of {folder.run}", found=found, logged=logged)


def _register(log: CheckedLog, registry: Registry) -> Iterator[_Book]:
    facts = [line.fact for line in log.lines if isinstance(line.fact, RegisterWritten)]
    for site in sorted({*registry.sites(), *(fact.site for fact in facts)}):
        found = [RegisterWritten(site=site, line=line) for line in registry.digests(site)]
        logged = [fact for fact in facts if fact.site == site]
        yield _Book(name=f"the register of {site}", found=found, logged=logged)


def _differences(books: Sequence[_Book], log: AuditLog) -> Iterator[str]:
    """Yield what the books lack, and what they have too much.

    A coordinator at work writes into a book first, then into the log. So a book must have what the log had
    before it, and the log, read once more after it, what the book has.
    """
    # By the digests of the facts, which stay when their words are forgotten.
    known = Counter(line.entry.data for line in log.read())
    for book in books:
        if gone := (Counter(book.logged) - Counter(book.found)).total():
            yield f"{book.name}: {gone} lines that the log vouches for are gone, or were altered"
        if added := (Counter(map(canonical.digest, book.found)) - known).total():
            never = f"{added} lines were never in the log"
            yield f"{book.name}: {never}; `fed-server start` notes what a crash kept back"
