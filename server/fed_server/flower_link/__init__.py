"""The exchange over Flower: embeds Flower's fleet service in this process and is its only user.

Only the fleet routes are served. Flower's control and runtime interfaces, with which whoever reaches
them could submit code, are not in this process at all: the exchange works on Flower's state directly.
That state lives in memory: after a crash the sites log in again and the round engine asks again.
"""

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import FastAPI
from flwr.app import Message, Metadata, RecordDict
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
    NodeStatus,
    TaskType,
)
from flwr.supercore.date import now
from flwr.supercore.error import http_error_translator
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStoreFactory
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router as fleet_router
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from fed_common.errors import MalformedMessageError
from fed_common.flower_payload import MAX_PAYLOAD_BYTES, PIECE_BYTES, content_of, pack, unpack
from fed_common.names import SiteName
from fed_common.plans import Phase
from fed_server.door.door import Door
from fed_server.door.gate import Fleet
from fed_server.exchange import Answer, NoAnswer, Question
from fed_server.flower_link.nodes import Nodes
from fed_server.flower_link.quiet import quieten_flower

__all__ = ["FlowerExchange"]

logger = logging.getLogger(__name__)

PUBLIC_PREFIX = "/v1/fleet/"
POLL_S = 0.05
MAX_REQUEST_BYTES = 2 * PIECE_BYTES
MAX_ANSWER_BYTES = MAX_PAYLOAD_BYTES

# Flower knows three kinds of message; the sites go by the signed plan inside.
_MESSAGE_TYPE: dict[Phase, str] = {"train": "train", "evaluate": "evaluate", "statistics": "query"}


@dataclass(frozen=True, kw_only=True)
class FlowerExchange:
    """Implements `fed_server.exchange.Exchange` for sites that log in over mutual TLS.

    A site that is enrolled while the exchange is open is known from then on, one that is revoked no longer.
    """

    port: int
    _state: LinkState
    _nodes: Nodes

    @classmethod
    @contextmanager
    def open(cls, door: Door) -> "Iterator[FlowerExchange]":
        """Let the enrolled sites in by `door`.

        Raises:
            ConfigError: a certificate file can't be used.
            MachineError: the address is in use.
            TrustError: the register was tampered with.
        """
        quieten_flower()
        factory = LinkStateFactory(
            FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory(FLWR_IN_MEMORY_DB_NAME)
        )
        state = factory.state()
        nodes = Nodes(
            registry=door.registry,
            create=lambda site, key: state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, heartbeat_interval=0, name=site
            ),
        )
        fleet = Fleet(
            app=_fleet_service(factory),
            prefix=PUBLIC_PREFIX,
            key_header=FLEET_HTTP_PUBLIC_KEY_HEADER,
            max_body_bytes=MAX_REQUEST_BYTES,
            expect=nodes.expect,
        )
        with door.opened(fleet) as port:
            yield cls(port=port, _state=state, _nodes=nodes)

    def online(self) -> frozenset[SiteName]:
        """Return the enrolled sites that are connected now; a killed one counts for 20 s more."""
        return frozenset(self._logins(self._nodes.registry.sites()))

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        """Yield exactly one item per site of the question, as they come, within `deadline_s`.

        A site that logs in before the deadline, for the first time or again, is asked then; but once the
        others have answered, nobody waits for a site that is away: it would cost every round its deadline.
        A site that isn't enrolled, or is revoked meanwhile, is out at once, whatever it has sent.
        """
        waiting = set(question.sites)
        deadline = time.monotonic() + question.deadline_s
        with _errand(self._state, question, self._nodes) as errand:
            while waiting and (remaining_s := deadline - time.monotonic()) > 0:
                for site in self._nodes.strangers(waiting):
                    waiting.discard(site)
                    yield NoAnswer(site=site, reason="not-enrolled")
                logins = self._logins(waiting)
                errand.deliver(logins, ttl_s=remaining_s)
                for site in logins:
                    if reply := errand.collect(site):
                        waiting.discard(site)
                        yield reply
                if not self._logins(waiting) and len(waiting) < len(question.sites):
                    break
                time.sleep(POLL_S)
        online = self.online()
        for site in sorted(waiting):
            yield NoAnswer(site=site, reason="late" if site in online else "offline")

    def _logins(self, sites: Collection[SiteName]) -> dict[SiteName, float]:
        """Return when each of the `sites` that are online logged in, in seconds since 1970."""
        nodes = self._nodes.ids(sites)
        infos = {info.node_id: info for info in self._state.get_node_info(node_ids=list(nodes.values()))}
        return {
            site: datetime.fromisoformat(infos[node].last_activated_at).timestamp()
            for site, node in nodes.items()
            if infos[node].status == NodeStatus.ONLINE
        }


@dataclass(frozen=True, kw_only=True)
class _Errand:
    """One question on its way, as one Flower run: it ends with the run, so a late answer finds no taker."""

    state: LinkState
    run: int
    question: Question
    content: RecordDict
    nodes: Nodes
    # The message that asks a site, and the head of its answer, which Flower hands out once.
    asked: dict[SiteName, Metadata] = field(default_factory=dict)
    announced: dict[SiteName, Message] = field(default_factory=dict)

    def deliver(self, logins: Mapping[SiteName, float], *, ttl_s: float) -> None:
        """Hand the question to the sites that have not been asked since they logged in."""
        # Flower would hash the whole content anew for each site.
        with no_object_id_recompute():
            for site, login in logins.items():
                before = self.asked.get(site)
                if before is None or before.created_at < login:
                    self._forget(site)
                    self._push(site, ttl_s)

    def _forget(self, site: SiteName) -> None:
        """Drop what was agreed with a process that is gone, so that its half-sent answer isn't mixed in."""
        if before := self.asked.pop(site, None):
            self.state.delete_messages({before.message_id})
            self.announced.pop(site, None)

    def _push(self, site: SiteName, ttl_s: float) -> None:
        if (node := self.nodes.ids((site,)).get(site)) is None:
            return  # revoked a moment ago
        message = make_message(self._metadata(node, ttl_s), self.content)
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        session = self.state.start_session(self.run)
        _, missing = self.state.store_message_and_object_tree(
            remove_content_from_message(message), get_object_tree(message), session
        )
        for object_id in missing:
            self.state.store_object(self.run, session, object_id, objects[object_id].deflate())
        self.asked[site] = message.metadata

    def collect(self, site: SiteName) -> Answer | NoAnswer | None:
        """Return the site's answer once it is here in full."""
        if site not in self.asked:
            return None
        if site not in self.announced:
            for message in self.state.get_message_res({self.asked[site].message_id}, self.run):
                self.announced[site] = message
        announced = self.announced.get(site)
        if announced is None:
            return None
        if announced.has_error():
            # A site sends the name of the error's class, never its text.
            logger.warning("site %s failed: %.80r", site, announced.error.reason)
            return NoAnswer(site=site, reason="link-error")
        try:
            payload = self._payload(announced.metadata.message_id)
        except MalformedMessageError as error:
            logger.warning("site %s: %s", site, error)
            return NoAnswer(site=site, reason="link-error")
        return None if payload is None else Answer(site=site, payload=payload)

    def _payload(self, message_id: str) -> bytes | None:
        """Return the payload of an announced message, None while pieces are on their way."""
        try:
            tree = self.state.object_store.get_object_tree(message_id)
        except NoObjectInStoreError:
            return None  # the upload was broken off, and the site will be asked again when it is back
        contents = {
            part.object_id: self.state.get_object(self.run, part.object_id) or b""
            for part in iterate_object_tree(tree)
        }
        if not all(contents.values()):
            return None
        payload = unpack(content_of(message_id, contents), at_most=MAX_ANSWER_BYTES)
        self.state.object_store.delete(message_id)  # a model's worth of memory per site
        return payload

    def _metadata(self, node: int, ttl_s: float) -> Metadata:
        return Metadata(
            run_id=self.run,
            message_id="",
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=node,
            reply_to_message_id="",
            group_id=str(self.question.round),
            created_at=now().timestamp(),
            ttl=ttl_s,
            message_type=_MESSAGE_TYPE[self.question.phase],
        )


@contextmanager
def _errand(state: LinkState, question: Question, nodes: Nodes) -> Iterator[_Errand]:
    run = state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
    (task,) = state.get_tasks(run_ids=[run])
    state.claim_task(task.task_id)
    state.activate_task(task.task_id)
    heartbeat = HeartbeatSender(lambda: state.acknowledge_task_heartbeat(task.task_id))
    heartbeat.start()
    try:
        content = pack(*question.parts)
        yield _Errand(state=state, run=run, question=question, content=content, nodes=nodes)
    finally:
        heartbeat.stop()
        state.stop_run(run)


def _fleet_service(factory: LinkStateFactory) -> FastAPI:
    service = FastAPI(
        openapi_url=None,
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
            Middleware(ProtobufTranslationMiddleware),
            Middleware(NodeAuthMiddleware),
        ],
    )
    service.state.linkstate_factory = factory
    service.state.enable_supernode_auth = True
    service.include_router(fleet_router)
    return service
