"""`fed-client start` and `model`: the daemon at a hospital, and what it computes with."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from fed_client.config import load_site_config
from fed_client.enrolment.renewal import RENEWAL_CHECK_S, Renewal
from fed_client.flower_link import FlowerLink, serve
from fed_client.link_events import told
from fed_client.opening import opened_site
from fed_common.background import repeating
from fed_common.models import spec_for
from fed_common.task import load_task

logger = logging.getLogger(__name__)

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The site's configuration, site.toml.", show_default=True)
]


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


def model(
    task: Annotated[Path, typer.Option(help="The consortium's task file.")] = Path("task.toml"),
) -> None:
    """Print the installed model's fingerprint, as `policy.allowed_models` wants it."""
    learnt = load_task(task)
    spec = spec_for(learnt)
    typer.echo(spec.fingerprint)
