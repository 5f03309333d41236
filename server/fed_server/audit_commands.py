"""`fed-server audit`: the coordinator's log, held against the journals and the register."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fed_common import canonical
from fed_common.audit_log.commands import Owner, audit_commands
from fed_common.audit_log.comparison import COORDINATOR
from fed_common.audit_log.facts import Fact, JournalWritten, RegisterWritten
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.names import run_id
from fed_server.config import audit_log_in, load_trust_files
from fed_server.registry.keys import IdentityKeys
from fed_server.registry.registry import Registry
from fed_server.run_folder import RunFolder


def coordinator_of(config: Path) -> Owner:
    """Return the coordinator that federation.toml names."""
    trust = load_trust_files(config)
    registry = trust.open_registry()
    keys = IdentityKeys(registry)
    return Owner(
        name=COORDINATOR,
        log=audit_log_in(trust.runs),
        key=registry.key,
        others={str(site): key for site, key in keys.items()},
        missing=lambda log: [*_journals(log, trust.runs), *_register(log, registry)],
    )


app = audit_commands(coordinator_of, config_file="federation.toml")


def _journals(log: CheckedLog, runs: Path) -> Iterator[str]:
    """Yield what the journals lack, or have too much; a run whose folder was taken away isn't missed."""
    facts = [line.fact for line in log.lines if isinstance(line.fact, JournalWritten)]
    for path in sorted(path.parent for path in runs.glob("*/journal.jsonl")):
        folder = RunFolder(runs, run_id(path.name))
        found = [JournalWritten(run=folder.run, line=line) for line in folder.journal.digests()]
        logged = [fact for fact in facts if fact.run == folder.run]
        yield from _differences(f"the journal of {folder.run}", log, logged, found)


def _register(log: CheckedLog, registry: Registry) -> Iterator[str]:
    facts = [line.fact for line in log.lines if isinstance(line.fact, RegisterWritten)]
    for site in sorted({*registry.sites(), *(fact.site for fact in facts)}):
        found = [RegisterWritten(site=site, line=line) for line in registry.digests(site)]
        logged = [fact for fact in facts if fact.site == site]
        yield from _differences(f"the register of {site}", log, logged, found)


def _differences(name: str, log: CheckedLog, logged: Sequence[Fact], found: Sequence[Fact]) -> Iterator[str]:
    if gone := (Counter(logged) - Counter(found)).total():
        yield f"{name}: {gone} lines that the log vouches for are gone, or were altered"
    # By the digests of the facts, which stay when their words are forgotten.
    known = Counter(line.entry.data for line in log.lines)
    if added := (Counter(map(canonical.digest, found)) - known).total():
        yield f"{name}: {added} lines were never in the log; `fed-server start` notes what a crash kept back"
