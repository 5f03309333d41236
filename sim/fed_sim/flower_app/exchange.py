"""The exchange over Flower's Grid: the coordinator asks nodes of a stock Flower, whichever runtime has them.

A node is asked once which hospital it is. That it is believed opens nothing: an answer counts by the
hospital's signature, and a question says nothing that another hospital isn't told.
"""

import logging
import time
from collections.abc import Collection, Iterator

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fed_common.errors import ConfigError, MalformedMessageError
from fed_common.flower_payload import MAX_PAYLOAD_BYTES, pack, unpack
from fed_common.names import SiteName, site_name
from fed_common.plans import Phase
from fed_server.exchange import Answer, NoAnswer, Question
from fed_sim.flower_app.client import NAME

logger = logging.getLogger(__name__)

POLL_S = 0.1
# A hospital registers its images before it says its name.
NAME_WITHIN_S = 3600.0

# Flower knows three kinds of message; the sites go by the signed plan inside.
_MESSAGE_TYPE: dict[Phase, str] = {"train": "train", "evaluate": "evaluate", "statistics": "query"}


class GridExchange:
    """Implements `fed_server.exchange.Exchange` for the nodes of one Flower run."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._nodes: dict[SiteName, int] = {}
        self._naming: dict[str, int] = {}  # by the message that asks a node for its name
        self._asked_for_name: set[int] = set()

    def online(self) -> frozenset[SiteName]:
        """Return the sites of the nodes that are connected now, and have said which they are."""
        connected = set(self._grid.get_node_ids())
        self._nodes = {site: node for site, node in self._nodes.items() if node in connected}
        for node in connected - self._asked_for_name:
            if message := self._push(node, RecordDict(), f"query.{NAME}", ttl_s=NAME_WITHIN_S):
                self._asked_for_name.add(node)
                self._naming[message] = node
        for reply in self._pull(self._naming):
            node = self._naming.pop(reply.metadata.reply_to_message_id)
            if (site := _name_in(reply)) is not None:
                self._nodes.setdefault(site, node)
        return frozenset(self._nodes)

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        """Yield one item per site of the question, as they come; see `Exchange`."""
        waiting, asked = set(question.sites), set[int]()
        messages, content = dict[str, SiteName](), pack(*question.parts)
        deadline = time.monotonic() + question.deadline_s
        while waiting and (remaining_s := deadline - time.monotonic()) > 0:
            here = self.online() & waiting
            for site in here:
                if (node := self._nodes[site]) not in asked and (
                    message := self._push(node, content, _MESSAGE_TYPE[question.phase], ttl_s=remaining_s)
                ):
                    asked.add(node)
                    messages[message] = site
            for reply in self._pull(messages):
                site = messages.pop(reply.metadata.reply_to_message_id)
                if site in waiting:
                    waiting.discard(site)
                    yield _read(site, reply)
            if not here & waiting and len(waiting) < len(question.sites):
                break
            time.sleep(POLL_S)
        online = self.online()
        for site in sorted(waiting):
            yield NoAnswer(site=site, reason="late" if site in online else "offline")

    def _push(self, node: int, content: RecordDict, kind: str, *, ttl_s: float) -> str | None:
        """Return the id of the message that asks a node, None where Flower takes none for it."""
        return next(iter(self._grid.push_messages([Message(content, node, kind, ttl=ttl_s)])), None)

    def _pull(self, messages: Collection[str]) -> list[Message]:
        """Return the replies that are here."""
        return list(self._grid.pull_messages(list(messages))) if messages else []


def _name_in(reply: Message) -> SiteName | None:
    if reply.has_error():
        logger.warning("a node's hospital can't be opened: %.80r", reply.error.reason)
        return None
    try:
        return site_name(str(reply.content.config_records[NAME][NAME]))
    except (KeyError, ConfigError):
        logger.warning("a node doesn't say which hospital it is")
        return None


def _read(site: SiteName, reply: Message) -> Answer | NoAnswer:
    if reply.has_error():
        logger.warning("site %s failed: %.80r", site, reply.error.reason)
        return NoAnswer(site=site, reason="link-error")
    try:
        return Answer(site=site, payload=unpack(reply.content, at_most=MAX_PAYLOAD_BYTES))
    except MalformedMessageError as error:
        logger.warning("site %s: %s", site, error)
        return NoAnswer(site=site, reason="link-error")
