"""The command group `audit`, the same for both sides: check a log, show it, prove from it, hand it out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from fed_common.audit_log.comparison import contradictions
from fed_common.audit_log.entry import Entry, Line
from fed_common.audit_log.handed_out import (
    CheckedLog,
    ConsistencyProof,
    InclusionProof,
    export_log,
    prove_entry,
    prove_growth,
    read_handed_out,
)
from fed_common.audit_log.head import LogHead
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError, TrustError
from fed_common.files import write_atomically
from fed_common.signing import SigningKey, VerifyingKey


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose log it is, the key that signs what is handed out, and the others whose keys are known, by name.

    `missing` says what the log has the digests of, and isn't where it should be any more, or never was in it.
    """

    name: str
    log: AuditLog
    key: SigningKey
    others: Mapping[str, VerifyingKey]
    missing: Callable[[CheckedLog], Sequence[str]]

    def checked(self) -> CheckedLog:
        """Return the log, every entry checked.

        Raises:
            TrustError: an entry was altered or is missing; its number is named.
        """
        return CheckedLog(owner=self.name, lines=self.log.read())


def audit_commands(owner_of: Callable[[Path], Owner], *, config_file: str) -> typer.Typer:
    """Return the group for one side; `owner_of` reads its configuration."""
    app = typer.Typer(
        name="audit",
        help="Check the audit log, show it, prove what is in it, and hand it to auditors.",
        no_args_is_help=True,
    )
    config_option = typer.Option("--config", help=f"The configuration, {config_file}.")

    @app.command()
    def verify(
        files: Annotated[
            list[Path] | None, typer.Argument(help="What others handed out; without it, this log alone.")
        ] = None,
        key: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=FILE",
                help="Whose public key is in which file; with one, no configuration is needed.",
            ),
        ] = None,
        config: Annotated[Path, config_option] = Path(config_file),
    ) -> None:
        """Check the log, and files that others handed out, side by side; ends with 5 if one can't be true."""
        keys = [_named_key(text) for text in key or []]
        verify_logs(owner_of(config) if not keys or config.exists() else None, files or [], keys)

    @app.command()
    def show(
        last: Annotated[int, typer.Option(min=1, help="How many entries, the newest last.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are.")] = False,
        config: Annotated[Path, config_option] = Path(config_file),
    ) -> None:
        """Show the newest entries: when, who, what."""
        for line in owner_of(config).checked().lines[-last:]:
            typer.echo(line.encode().decode("ascii") if as_json else _shown(line))

    @app.command()
    def prove(
        entry: Annotated[int | None, typer.Option(help="Prove that this entry is in the log.")] = None,
        grown_from: Annotated[
            int | None, typer.Option(help="Prove that the log grew out of its first so many entries.")
        ] = None,
        out: Annotated[Path, typer.Option(help="The file to write.")] = Path("audit-proof.json"),
        config: Annotated[Path, config_option] = Path(config_file),
    ) -> None:
        """Write a short signed proof about the log, which tells nothing else of it."""
        owner = owner_of(config)
        log = owner.checked()
        if entry is not None and grown_from is None:
            raw = prove_entry(log, entry, owner.key)
        elif grown_from is not None and entry is None:
            raw = prove_growth(log, grown_from, owner.key)
        else:
            raise ConfigError("either --entry or --grown-from must be given")
        write_atomically(out, raw)
        typer.echo(f"{out}: {_told(log.head)}")

    @app.command()
    def export(
        out: Annotated[Path, typer.Option(help="The file to write.")] = Path("audit-export.json"),
        config: Annotated[Path, config_option] = Path(config_file),
    ) -> None:
        """Write a signed copy of the whole log, for auditors and for the other side; it names no patient."""
        owner = owner_of(config)
        log = owner.checked()
        write_atomically(out, export_log(log, owner.key))
        typer.echo(f"{out}: {_told(log.head)}")

    @app.command()
    def forget(
        older_than_days: Annotated[int, typer.Option(help="How old, at least, what is forgotten must be.")],
        config: Annotated[Path, config_option] = Path(config_file),
    ) -> None:
        """Take the words out of old entries for good; their digests stay, and with them every proof."""
        if older_than_days < 1:
            raise ConfigError(f"--older-than-days must be at least 1, got {older_than_days}")
        forgotten = owner_of(config).log.forget(before=int(time.time()) - 86400 * older_than_days)
        typer.echo(f"{forgotten} entries are without their words now")

    return app


def verify_logs(owner: Owner | None, files: Sequence[Path], keys: Sequence[tuple[str, VerifyingKey]]) -> None:
    """Check the owner's log, where there is one, and `files` signed with `keys` or by those it knows.

    Whose a file is isn't taken from the file: under another name a log would be compared with nothing.

    Raises:
        TrustError: something doesn't hold, or two logs contradict each other; all is printed.
    """
    known = {owner.name: owner.key.verifying_key, **owner.others} if owner else {}
    named = [*known.items(), *keys]
    names = {key.fingerprint: name for name, key in named}
    logs: list[CheckedLog] = []
    if owner is not None:
        logs.append(own := owner.checked())
        typer.echo(f"{own.owner}: {_told(own.head)}; every entry follows the one before it")
        _refuse(owner.missing(own))
    for path in files:
        found, signer = read_handed_out(_read(path), [key for _, key in named])
        if (name := names[signer.fingerprint]) != found.owner:
            raise TrustError(f"{path}: says that it is {found.owner}'s, another has signed it: {name}")
        typer.echo(f"{path}: {_found(found)}; signed with {signer.spoken}")
        if isinstance(found, CheckedLog):
            logs.append(found)
    _refuse(list(contradictions(*logs)))
    if len(logs) > 1:
        typer.echo(f"{len(logs)} logs agree on the heads and the plans that they share")


def _named_key(text: str) -> tuple[str, VerifyingKey]:
    name, found, path = text.partition("=")
    if not found:
        raise ConfigError(f"--key is NAME=FILE, such as north=north/identity.pub, got {text[:80]!r}")
    return name, VerifyingKey.load(Path(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error


def _found(found: CheckedLog | InclusionProof | ConsistencyProof) -> str:
    whose = f"{found.owner}, {_told(found.head)}"
    match found:
        case CheckedLog():
            return f"{whose}, every entry holds"
        case InclusionProof(entry=entry):
            return f"{whose}, has entry {entry.seq}, {entry.event} of {_when(entry)}"
        case ConsistencyProof(first=first):
            return f"{whose}, grew out of {_told(first)}"


def _refuse(found: Sequence[str]) -> None:
    for line in found[:-1]:
        typer.echo(line, err=True)
    if found:
        raise TrustError(found[-1])


def _told(head: LogHead) -> str:
    return f"{head.size} entries, root {head.root[:16]}"


def _when(entry: Entry) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.ts))


def _shown(line: Line) -> str:
    entry, fact = line.entry, line.fact
    words = "forgotten"
    if fact is not None:
        words = ", ".join(f"{field.name} {_short(getattr(fact, field.name))}" for field in fields(fact))
    return f"{entry.seq:6} {_when(entry)} {entry.actor} {entry.event}: {words}"


def _short(value: object) -> str:
    """Return so much of a value as a person compares."""
    return _told(value) if isinstance(value, LogHead) else str(value)[:40]
