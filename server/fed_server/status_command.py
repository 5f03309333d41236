"""`fed-server status`: where a run stands, as a table for people or as JSON."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fed_common.errors import ConfigError
from fed_common.messages import PrivacyStatement
from fed_common.names import run_id
from fed_server.config import runs_folder
from fed_server.run_folder import RunFolder
from fed_server.status import LastWord, RunStatus, SiteStatus, Verdict, status_of

_COLOURS: dict[Verdict, str] = {
    "accepted": "green",
    "tightened": "yellow",
    "refused": "red",
    "failed": "red",
    "not asked yet": "dim",
}


def status(
    run: Annotated[str, typer.Argument(help="Which; the one that was begun last if none is named.")] = "",
    config: Annotated[Path, typer.Option(help="The federation's configuration.")] = Path("federation.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show where a run stands, and of each site: accepted, tightened or refused, and what it has spent."""
    root = runs_folder(config)
    folder = RunFolder(root, run_id(run)) if run else RunFolder.current(root)
    found = status_of(folder.journal.timed()) if folder else None
    if found is None:
        raise ConfigError(f"{root}: no run {run or 'has begun'} here")
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    console = Console()
    console.print(escape(_headline(found)), style="bold", soft_wrap=True)
    console.print(_table(found.sites))


def _headline(found: RunStatus) -> str:
    state = "finished" if found.finished else f"last event {_ago(found.last_event)}"
    line = f"{found.run}: {found.published} of {found.rounds} rounds published, {state}"
    if found.asked is not None and not found.finished:
        answered = f"{found.answered} of {len(found.sites)} answered"
        line += f"; round {found.asked.round} {found.asked.phase} is asked, {answered}"
    return line


def _table(sites: tuple[SiteStatus, ...]) -> Table:
    table = Table()
    for heading in ("site", "last answer", "", "given away", "resets"):
        table.add_column(heading, overflow="fold")
    for site in sites:
        verdict = site.last.verdict if site.last else "not asked yet"
        resets = "\n".join(f"{_day(reset.time)}: {escape(reset.reason)}" for reset in site.resets)
        table.add_row(
            site.site,
            f"round {site.last.round} {site.last.phase}, {_ago(site.last.at)}" if site.last else "",
            f"[{_COLOURS[verdict]}]{verdict}[/] {escape(_reason(site.last))}",
            _spent(site.privacy) if site.privacy else "nothing stated",
            resets or "none",
        )
    return table


def _reason(last: LastWord | None) -> str:
    if last is None:
        return ""
    codes = ", ".join(last.codes)
    return f"{codes}: {last.detail}" if last.detail else codes


def _spent(stated: PrivacyStatement) -> str:
    since = f" since the reset of {_day(stated.reset.reset.time)}" if stated.reset else ""
    return (
        f"epsilon {stated.epsilon:.3f} at delta {stated.delta:g} per {stated.unit}, "
        f"{stated.releases} releases{since}; against {stated.adversary}; {stated.accountant}; "
        f"ledger {stated.ledger.events}:{stated.ledger.digest}"
    )


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _ago(seconds: int) -> str:
    passed = max(0, int(time.time()) - seconds)
    if passed < 120:
        return f"{passed} s ago"
    return f"{passed // 60} min ago" if passed < 7200 else f"{passed // 3600} h ago"
