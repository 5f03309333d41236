"""Takes a question from the server's Flower: it is one, and no larger than any, before the site sees it."""

import threading
from collections.abc import Callable

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import pull_objects

from fed_common.flower_payload import MAX_PAYLOAD_BYTES, PIECE_BYTES, TooLargeError, content_of, unpack

MAX_QUESTION_BYTES = MAX_PAYLOAD_BYTES


def fetched(tree: ObjectTree, pull: Callable[[str], bytes]) -> dict[str, bytes]:
    """Return all parts of a message by their ids, each pulled once.

    Raises:
        TooLargeError: they are more than any question has; the rest isn't pulled.
    """
    held, lock = 0, threading.Lock()

    def counted(part: str) -> bytes:
        nonlocal held
        content = pull(part)
        with lock:
            held += len(content)
            # Flower's own lines about the pieces come to less than a piece.
            if held > (limit := MAX_QUESTION_BYTES + PIECE_BYTES):
                raise TooLargeError(f"a message of more than {limit} bytes")
        return content

    return pull_objects(list({part.object_id: None for part in iterate_object_tree(tree)}), counted)


def question_in(message_id: str, parts: dict[str, bytes]) -> bytes:
    """Return the question that the parts of a message make.

    Raises:
        MalformedMessageError: they make none, or one that is too large.
    """
    return unpack(content_of(message_id, parts), at_most=MAX_QUESTION_BYTES)
