"""The site's end of the Flower link: without it no question reaches the hospital.

It is Flower's fleet protocol without Flower's node: no code is downloaded and no process started per
question. There is one rule for every failure, be it of the line, the server or Flower: log in again, after
a pause. The server then asks what is still open once more, so `answer` must give the same bytes for
the same question.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.app import Error, Message, Metadata
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    push_objects,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fed_client.flower_link.faults import hopeless, reason
from fed_client.flower_link.link import FlowerLink
from fed_client.flower_link.question import fetched, question_in
from fed_common.audit_log.facts import LinkCode
from fed_common.background import repeating
from fed_common.errors import FedError, MalformedMessageError
from fed_common.flower_payload import TooLargeError, pack

__all__ = ["FlowerLink", "LinkEvent", "serve"]

logger = logging.getLogger(__name__)

LinkEvent = Literal["connected", "disconnected", "asked", "answered", "failed", "late", LinkCode]

POLL_S = 0.2
# Flower's shortest interval; the server takes a site for offline after two of them.
HEARTBEAT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
TIMEOUT_S = 20.0

_FAILURES = (httpx.HTTPError, ObjectPullError, ObjectPushError, ValueError)


def serve(
    answer: Callable[[bytes], bytes],
    *,
    link: FlowerLink,
    stop: threading.Event,
    on_event: Callable[[LinkEvent], None],
) -> None:
    """Answer the server's questions until `stop` is set, through every failure that may pass.

    `answer` runs in the calling thread; if it raises, the server learns the name of the error's class.

    Raises:
        ConfigError: a file of the link can't be used.
        TrustError: the server is not the consortium's, or doesn't know this site.
        MachineError: this machine's clock is wrong.
    """
    # httpx would log every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    key = link.read_node_key()
    _Site(answer=answer, link=link, stop=stop, on_event=on_event, key=key).run()


@dataclass(kw_only=True)
class _Site:
    """The conversation with the server: 1 log in, 2 poll, 3 fetch, 4 answer, 5 send; after a failure, 1."""

    answer: Callable[[bytes], bytes]
    link: FlowerLink
    stop: threading.Event
    on_event: Callable[[LinkEvent], None]
    key: EllipticCurvePrivateKey
    ever_connected: bool = False
    reported_down: bool = False
    pause_s: float = FIRST_PAUSE_S

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with self._login() as line:
                    self._connected()
                    line.converse()
            except _FAILURES as error:
                self._disconnected(error)

    def pulled(self) -> None:
        """Note that the server answers."""
        self.pause_s = FIRST_PAUSE_S

    def _connected(self) -> None:
        self.ever_connected, self.reported_down = True, False
        self.on_event("connected")

    def _disconnected(self, error: Exception) -> None:
        if final := hopeless(error, self.link, ever_connected=self.ever_connected):
            raise final from error
        if not self.reported_down:
            logger.warning("no connection to %s (%s); trying on", self.link.address, reason(error))
            self.reported_down = True
            self.on_event("disconnected")
        # Jitter, so that the sites don't all come back in the same moment.
        self.stop.wait(self.pause_s * random.uniform(0.8, 1.2))
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    @contextmanager
    def _login(self) -> Iterator["_Line"]:
        """1: end the login that a crash has left open, which Flower would not do for 20 s, and log in.

        The certificate is read anew each time, so that a renewed one is shown from the next login on.
        """
        version = self.link.certificate_version
        with FleetHttpClient(
            self.link.address,
            interceptors=[NodeAuthHttpInterceptor(self.key, self.key.public_key())],
            verify=self.link.tls_context(),
            timeout=TIMEOUT_S,
        ) as client:
            if (last := self.link.last_login()) is not None:
                _log_out(client, last)
            request = ActivateNodeRequest(
                public_key=public_key_to_bytes(self.key.public_key()), heartbeat_interval=HEARTBEAT_S
            )
            node = Node(node_id=client.ActivateNode(request).node_id)
            self.link.remember_login(node.node_id)
            with repeating(partial(_beat, client, node), every_s=HEARTBEAT_S / 2, name="heartbeats"):
                yield _Line(site=self, client=client, node=node, certificate_version=version)
            _log_out(client, node.node_id)


def _log_out(client: FleetHttpClient, node_id: int) -> None:
    # Refused when the login is over already, or when the server that gave the id is gone.
    with suppress(httpx.HTTPStatusError):
        client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))


def _beat(client: FleetHttpClient, node: Node) -> None:
    try:
        client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=node, heartbeat_interval=HEARTBEAT_S))
    except _FAILURES as error:
        logger.debug("a heartbeat failed (%s)", reason(error))


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One login: it lasts until a failure, or until the site has another certificate to show."""

    site: _Site
    client: FleetHttpClient
    node: Node
    certificate_version: int

    def converse(self) -> None:
        site = self.site
        while not site.stop.is_set() and site.link.certificate_version == self.certificate_version:
            response = self.client.PullMessages(PullMessagesRequest(node=self.node))  # 2
            site.pulled()
            if not response.messages_list:
                site.stop.wait(POLL_S)
                continue
            asked = message_from_proto(response.messages_list[0]).metadata
            site.on_event("asked")
            try:
                self._send(self._reply(asked, response))
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.FORBIDDEN:
                    raise
                site.on_event("late")  # the question was withdrawn: its deadline is over

    def _fetch(self, asked: Metadata, response: PullMessagesResponse) -> bytes:
        """3: get all pieces, then let the server forget them."""
        parts = dict[str, bytes]()
        for tree in response.message_object_trees[:1]:
            parts |= fetched(
                tree, make_pull_object_fn_protobuf(self.client.PullObject, self.node, asked.run_id)
            )
        confirm = make_confirm_message_received_fn_protobuf(
            self.client.ConfirmMessageReceived, self.node, asked.run_id
        )
        confirm(asked.message_id)
        return question_in(asked.message_id, parts)

    def _reply(self, asked: Metadata, response: PullMessagesResponse) -> Message:
        """4: let the site answer; whatever goes wrong in there, the server hears one word of it."""
        metadata = Metadata(
            run_id=asked.run_id,
            message_id="",
            src_node_id=self.node.node_id,
            dst_node_id=asked.src_node_id,
            reply_to_message_id=asked.message_id,
            group_id=asked.group_id,
            # The server's own times, so that an answer doesn't expire because of this machine's clock.
            created_at=asked.created_at,
            ttl=asked.ttl,
            message_type=asked.message_type,
        )
        try:
            question = self._fetch(asked, response)
        except MalformedMessageError as error:
            too_large = isinstance(error, TooLargeError)
            self.site.on_event("question-too-large" if too_large else "question-malformed")
            return self._unanswered(metadata, error)
        try:
            content = pack(self.site.answer(question))
        except Exception as error:  # noqa: BLE001 - a bug in one answer must not take the site offline
            self.site.on_event("failed")
            return self._unanswered(metadata, error)
        return make_message(metadata, content)

    def _unanswered(self, metadata: Metadata, error: Exception) -> Message:
        name = type(error).__name__
        # Our own errors name no patient, and the operator needs the reason; others may say anything.
        logger.error("a question was not answered: %s", error if isinstance(error, FedError) else name)
        return make_message(metadata, error=Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, name))

    def _send(self, reply: Message) -> None:
        """5: announce the answer, then send the pieces that the server hasn't got."""
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            announcement = PushMessagesRequest(
                node=self.node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[get_object_tree(reply)],
            )
            receipt = self.client.PushMessages(announcement)
            push = make_push_object_fn_protobuf(
                self.client.PushObject, self.node, reply.metadata.run_id, receipt.session_id
            )
            push_objects(get_all_nested_objects(reply), push, object_ids_to_push=set(receipt.objects_to_push))
        if reply.has_content():
            self.site.on_event("answered")
