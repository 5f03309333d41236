"""`fed-server`: the coordinator's commands."""

import logging
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fed_common import checkpoint as checkpoints
from fed_common.audit import Release
from fed_common.errors import FedError
from fed_common.files import exclusive
from fed_common.logs import log_to_stderr, run_command
from fed_common.machine import settle_in
from fed_common.models import spec_for
from fed_common.names import run_id, site_name
from fed_common.signing import VerifyingKey
from fed_common.task import load_task
from fed_common.templates import list_or_write
from fed_server.authority.commands import app as authority
from fed_server.config import FederationConfig, load_federation_config
from fed_server.console import ConsoleObserver, JsonObserver
from fed_server.dev_certificates import write_dev_certificates
from fed_server.flower_link import FlowerExchange
from fed_server.registry.commands import register_commands
from fed_server.release import load_audit, release_model
from fed_server.report import write_report
from fed_server.run_folder import RunFolder
from fed_server.running import current_run, go_on
from fed_server.status_command import status

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="fed-server",
    help="The coordinator: asks the hospitals round by round and publishes the signed model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class StoppedError(FedError):
    """The operator stopped the coordinator; the next `start` goes on where it was."""

    exit_code = 0


@app.command()
def start(
    config: Annotated[Path, typer.Option(help="The federation's configuration.")] = Path("federation.toml"),
    json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines, for machines.")] = False,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Begin another run instead of going on with the last.")
    ] = False,
) -> None:
    """Run all rounds, or go on with the run that was interrupted; ends with a signed model and a report.

    SIGTERM and Ctrl-C stop it at once; nothing that was published is lost.
    """
    signal.signal(signal.SIGTERM, _stop)
    settle_in()
    settings = load_federation_config(config)
    with exclusive(settings.runs, owner="fed-server"):
        _run(settings, json=json, new_run=new_run)


app.command()(status)
app.add_typer(authority)
register_commands(app)


@app.command()
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


@app.command()
def publish(
    run: Annotated[str, typer.Argument(help="A finished run, such as pneumonia-1a2b3c4d.")],
    out: Annotated[Path, typer.Option(help="A new folder for the published model.")],
    config: Annotated[Path, typer.Option(help="The federation's configuration.")] = Path("federation.toml"),
    audit: Annotated[Path | None, typer.Option(help="The verdict that `fed-sim audit` wrote.")] = None,
    without_audit: Annotated[
        str, typer.Option(help="Instead, a reason to go without one; it goes into the signed manifest.")
    ] = "",
) -> None:
    """Let a finished model go, signed with the passed audit of the code that made it.

    The audit must be of the code that every site ran; the report shows it from then on.
    """
    settings = load_federation_config(config)
    release = Release(audit=load_audit(audit) if audit else None, without_audit=without_audit)
    folder = RunFolder(settings.runs, run_id(run))
    with exclusive(settings.runs, owner="fed-server"):
        release_model(folder, settings.settings.model, release, key=settings.identity, out=out)
        write_report(folder.report, folder.journal.read(), settings.references)
    typer.echo(f"{out}: published {run}, {_ground(release)}")
    typer.echo(f"report: {folder.report}")


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(help="A folder with model.safetensors and manifest.json.")],
    key: Annotated[Path, typer.Option(help="The coordinator's public key, identity.pub.")],
    task: Annotated[Path, typer.Option(help="The task file that the model was trained for.")],
) -> None:
    """Check that a model is the one that the coordinator signed, and print what is vouched for."""
    learnt = load_task(task)
    spec = spec_for(learnt)
    manifest = checkpoints.load(model, spec, VerifyingKey.load(key)).manifest
    typer.echo(f"signed: run {manifest.run}, round {manifest.round} of {manifest.rounds}, {manifest.model}")
    normalisation = manifest.terms.normalisation
    typer.echo(
        f"input: greys of 0 to 1, less {normalisation.mean:g}, by {normalisation.spread:g}; "
        f"output: {'several labels' if manifest.multi_label else 'one class'} of "
        f"{', '.join(manifest.classes)}; positive: {manifest.positive}"
    )
    typer.echo(f"published: {_ground(manifest.release)}" if manifest.release else "not published")
    for stated in manifest.sites:
        privacy = stated.privacy
        typer.echo(
            f"{stated.site}: each {privacy.unit} is protected with epsilon {privacy.epsilon:.3f}, "
            f"delta {privacy.delta:g} against {privacy.adversary}, after {privacy.releases} releases "
            f"({privacy.sampling}; {privacy.accountant}; ledger {privacy.ledger.digest[:12]}; "
            f"code {privacy.code[:12]})"
        )


@app.command()
def task(
    name: Annotated[str | None, typer.Argument(help="Which; without it, all are listed.")] = None,
    out: Annotated[Path, typer.Option(help="A new file for the task.")] = Path("task.toml"),
) -> None:
    """List the tasks that come with the program, or write one as a task.toml to start from."""
    typer.echo(list_or_write(name, out))


def main() -> None:
    """Run the command line."""
    log_to_stderr()
    run_command("fed-server", app)


def _ground(release: Release) -> str:
    """Return in words why the model was let go."""
    if release.audit is None:
        return f"without an audit: {release.without_audit}"
    return f"with the audit of {release.audit.date}, passed by code {release.audit.code[:12]}"


def _run(config: FederationConfig, *, json: bool, new_run: bool) -> None:
    for site in config.settings.cohort:
        if site.name not in config.site_keys:
            logger.warning("%s is not enrolled yet; `fed-server invite %s`", site.name, site.name)
    folder = current_run(config, new_run=new_run)
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
