"""`fed-client doctor`: all checks in a table or as JSON, and an exit code that scripts can use."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from fed_client.config import SiteConfig, read_site_config
from fed_client.dataset.source import Progress as OnImage
from fed_client.doctor.audit_log import check_audit_log
from fed_client.doctor.budget import check_budget
from fed_client.doctor.check import Check, Status
from fed_client.doctor.data import check_data, examine
from fed_client.doctor.machine import check_machine
from fed_client.doctor.model import check_model
from fed_client.doctor.peers import check_peers
from fed_client.doctor.server import check_server
from fed_client.doctor.signature import check_signature
from fed_client.flower_link import FlowerLink
from fed_client.opening import ACCOUNTANTS

EXIT_FAILURE = 1
_COLOURS: dict[Status, str] = {"ok": "green", "warning": "yellow", "failure": "red"}


def doctor(
    config: Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")] = Path(
        "site.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Examine data, machine, server and budget before taking part; ends with 1 if something must be mended.

    It changes nothing, charges nothing and logs in nowhere.
    """
    settings = read_site_config(config)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading images", total=None)
        checks = list(
            all_checks(
                settings, on_image=lambda done, total: progress.update(bar, completed=done, total=total)
            )
        )
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        Console().print(_table(checks))
    if any(check.status == "failure" for check in checks):
        raise typer.Exit(EXIT_FAILURE)


def all_checks(config: SiteConfig, *, on_image: OnImage | None = None) -> Iterator[Check]:
    """Yield every check, data first."""
    examined = examine(config, on_image=on_image)
    yield examined.check
    if examined.manifest is not None:
        yield from check_data(examined.manifest, config)
    yield from check_machine(config.state, image_bytes=examined.image_bytes, threads=config.threads)
    link = FlowerLink(
        address=config.address,
        ca=config.ca,
        node_key=config.node_key,
        state=config.state / "link",
        passphrase=config.passphrase,
    )
    yield from check_server(link)
    yield check_model(config)
    yield check_signature(config)
    yield check_audit_log(config)
    yield check_peers(config)
    yield from check_budget(config, ACCOUNTANTS)


def _table(checks: list[Check]) -> Table:
    worst = sum(check.status == "failure" for check in checks)
    doubtful = sum(check.status == "warning" for check in checks)
    table = Table(title=f"failures: {worst}, warnings: {doubtful}", title_justify="left")
    for heading in ("", "looked at", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        colour = _COLOURS[check.status]
        told = (escape(text) for text in (check.subject, check.found, check.advice))
        table.add_row(f"[{colour}]{check.status}[/{colour}]", *told)
    return table
