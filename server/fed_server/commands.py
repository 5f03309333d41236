"""`fed-server start` and `dev-certificates`."""

import logging
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fed_common.errors import ConfigError, FedError
from fed_common.files import exclusive
from fed_common.machine import settle_in
from fed_common.names import site_name
from fed_server.config import FederationConfig, load_federation_config
from fed_server.console import ConsoleObserver, JsonObserver
from fed_server.dev_certificates import write_dev_certificates
from fed_server.flower_link import FlowerExchange
from fed_server.run_folder import RunFolder
from fed_server.running import current_run, go_on

logger = logging.getLogger(__name__)


class StoppedError(FedError):
    """The operator stopped the coordinator; the next `start` goes on where it was."""

    exit_code = 0


def start(
    config: Annotated[Path, typer.Option(help="The federation's configuration.")] = Path("federation.toml"),
    json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines, for machines.")] = False,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Begin another run instead of going on with the last.")
    ] = False,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="With --new-run: a checkpoint's folder to begin with.")
    ] = None,
) -> None:
    """Run all rounds, or go on with the run that was interrupted; ends with a signed model and a report.

    SIGTERM and Ctrl-C stop it at once; nothing that was published is lost.
    """
    if start_from is not None and not new_run:
        raise ConfigError("--from goes with --new-run: a run that has begun has its parameters")
    signal.signal(signal.SIGTERM, _stop)
    settle_in()
    settings = load_federation_config(config)
    with exclusive(settings.runs, owner="fed-server"):
        folder = current_run(settings, new_run=new_run, start=start_from)
        _run(settings, folder, json=json)


def dev_certificates(
    out: Annotated[Path, typer.Option(help="A folder that doesn't exist yet.")],
    site: Annotated[
        list[str],
        typer.Option(help="Make this site's keys too; real sites make their own."),
    ] = [],  # noqa: B006
    host: Annotated[list[str], typer.Option(help="How sites reach the server; may be repeated.")] = [  # noqa: B006
        "127.0.0.1",
        "localhost",
    ],
) -> None:
    """Make throw-away certificates and keys for development on one machine. Not for real hospitals."""
    write_dev_certificates(out, sites=[site_name(name) for name in site], hosts=host)
    typer.echo(f"{out}: certificate and keys of the server, keys of {len(site)} sites; valid for 90 days")


def _run(config: FederationConfig, folder: RunFolder, *, json: bool) -> None:
    for site in config.settings.cohort:
        if site.name not in config.site_keys:
            logger.warning("%s is not enrolled yet; `fed-server invite %s`", site.name, site.name)
    if folder.finished:
        typer.echo(f"{folder.run} is finished: {folder.report}; --new-run begins another")
        return
    with (
        JsonObserver() if json else ConsoleObserver(past=folder.journal.read()) as observer,
        FlowerExchange.open(config.door) as exchange,
    ):
        go_on(config, folder, exchange=exchange, observer=observer)
    if not json:
        typer.echo(f"report: {folder.report}")


def _stop(_number: int, _frame: object) -> NoReturn:
    # Raised wherever the main thread is: every file is written whole or not at all.
    raise StoppedError("stopped; `fed-server start` goes on where it was")
