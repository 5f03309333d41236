"""`fed-client`: the daemon at a hospital, and what its IT person and privacy officer ask of it."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from fed_client.audit_commands import app as audit_log
from fed_client.config import load_site_config
from fed_client.data_commands import app as data
from fed_client.doctor.command import doctor
from fed_client.enrolment.command import enroll
from fed_client.enrolment.renewal import RENEWAL_CHECK_S, Renewal
from fed_client.flower_link import FlowerLink, serve
from fed_client.ledger_commands import app as ledger
from fed_client.link_events import told
from fed_client.opening import opened_site
from fed_client.policy_commands import app as policy
from fed_common.background import repeating
from fed_common.logs import log_to_stderr, run_command
from fed_common.models import spec_for
from fed_common.task import load_task
from fed_common.templates import list_or_write

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="fed-client",
    help="A hospital's side of the federation: images and budget stay here, noised updates leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(audit_log)
app.add_typer(data)
app.add_typer(ledger)
app.add_typer(policy)

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The site's configuration, site.toml.", show_default=True)
]


app.command()(doctor)
app.command()(enroll)


@app.command()
def start(config: ConfigOption = Path("site.toml")) -> None:
    """Run the daemon: answer the coordinator's plans until SIGTERM or Ctrl-C.

    Every plan is checked against the policy and charged to the ledger before any image is touched.
    """
    settings = load_site_config(config)
    link = FlowerLink(
        address=settings.address,
        ca=settings.ca,
        node_key=settings.node_key,
        state=settings.state / "link",
        passphrase=settings.passphrase,
    )
    link.check_certificate()  # before the images are opened, which takes a while
    stop = threading.Event()
    renewal = Renewal(site=settings.name, link=link)
    with opened_site(settings) as site, repeating(renewal.look, every_s=RENEWAL_CHECK_S, name="renewal"):

        def on_signal(number: int, _frame: object) -> None:
            logger.info("%s: stopping", signal.Signals(number).name)
            stop.set()
            site.stop()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        logger.info("%s is ready; waiting for %s", settings.name, settings.address)
        with told(site.log) as on_event:
            serve(site.answer, link=link, stop=stop, on_event=on_event)
    logger.info("stopped")


@app.command()
def model(
    task: Annotated[Path, typer.Option(help="The consortium's task file.")] = Path("task.toml"),
) -> None:
    """Print the installed model's fingerprint, as `policy.allowed_models` wants it."""
    learnt = load_task(task)
    spec = spec_for(learnt)
    typer.echo(spec.fingerprint)


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
    run_command("fed-client", app)
