"""The ClientApp: opens the hospital on its files, lets it answer one question, and closes it again.

Flower starts a process, or takes any of Ray's, for each message. That nothing is charged twice, no round is
answered twice and no plan goes back is on the hospital's disk, so it outlives every process.
"""

import logging
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.common.constant import ErrorCode

from fed_client.config import SiteConfig, load_site_config
from fed_client.link_events import told
from fed_client.opening import opened_site
from fed_client.site import Site
from fed_common.errors import ConfigError, FedError, MalformedMessageError
from fed_common.flower_payload import MAX_PAYLOAD_BYTES, TooLargeError, pack, unpack
from fed_sim.consortium import Consortium

logger = logging.getLogger(__name__)

NAME = "name"


def in_one_word(message: Message, context: Context, answer: ClientAppCallable) -> Message:
    """Tell the server the class of what goes wrong: Flower would send the text, which may name a patient."""
    try:
        return answer(message, context)
    except Exception as error:  # noqa: BLE001 - the outermost frame that is ours
        name = type(error).__name__
        # Our own errors name no patient, and the operator needs the reason; others may say anything.
        logger.error("a question was not answered: %s", error if isinstance(error, FedError) else name)
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, name), reply_to=message)


app = ClientApp(mods=[in_one_word])


@app.query(NAME)
def name(message: Message, context: Context) -> Message:
    """Say which hospital this node is, once it can be opened; its images are registered with that."""
    with opened_site(_configuration(context)) as site:
        said = ConfigRecord({NAME: str(site.identity.name)})
    return Message(RecordDict({NAME: said}), reply_to=message)


@app.train()
@app.evaluate()
@app.query()
def answer(message: Message, context: Context) -> Message:
    """Return the hospital's sealed answer."""
    with opened_site(_configuration(context)) as site:
        return Message(pack(site.answer(_question(message, site))), reply_to=message)


def _question(message: Message, site: Site) -> bytes:
    with told(site.log) as on_event:
        try:
            return unpack(message.content, at_most=MAX_PAYLOAD_BYTES)
        except MalformedMessageError as error:
            on_event("question-too-large" if isinstance(error, TooLargeError) else "question-malformed")
            raise


def _configuration(context: Context) -> SiteConfig:
    """Return the hospital that the SuperNode's configuration names, or the simulation's partition stands for.

    Raises:
        ConfigError: it is none.
    """
    if (named := context.node_config.get("site")) is not None:
        return load_site_config(Path(str(named)))
    consortium = Consortium.at(Path(str(context.run_config["federation"])).parent)
    number = int(context.node_config.get("partition-id", -1))
    if not 0 <= number < len(consortium.sites):
        raise ConfigError(
            f"num-supernodes must be {len(consortium.sites)}, one for each site, and a SuperNode's "
            "--node-config must name its site"
        )
    return load_site_config(consortium.site_file(consortium.sites[number]))
