"""What it costs to bring a model to a site, but for the line itself: our way, and Flower's.

Ours is written, hashed and signed as the coordinator does it, and checked and read as a site does. What
Flower adds when it carries our bytes, its own pieces, hashes and messages, is timed apart. Flower's own way
is an `ArrayRecord` of the same numbers. The way back is an update's, from the site's encoding to what the
coordinator folds after screening.
"""

# Shape letters: P parameters.

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ArrayRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from numpy.typing import NDArray

from fed_client.received_model import received_vectors
from fed_client.training import clip_update
from fed_common import seeds, updates
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import parameter_bytes
from fed_common.flower_payload import pack, unpack
from fed_common.ledger_record import LedgerHead
from fed_common.machine import settle_in
from fed_common.messages import (
    AnswerStatement,
    PlanStatement,
    PrivacyStatement,
    RoundPlan,
    seal,
    sealed_parts,
    unseal,
)
from fed_common.names import Bytes, SiteName, body_digest
from fed_common.signing import SigningKey
from fed_server.exchange import Answer
from fed_server.screening import SiteReply, screen
from fed_sim.bench.plans import CLIP, NOTHING, bench_plan
from fed_sim.bench.timing import interleaved_ms

TARGET_MS = 60.0
# Of a ResNet-18, whose parameters come to Flower in so many arrays.
_LAYERS = 62
_SITE = SiteName("north")
_STATED = PrivacyStatement(
    unit="patient",
    epsilon=1.0,
    delta=1e-5,
    releases=1,
    accountant="none",
    ledger=LedgerHead(events=1, digest=NOTHING),
    code=NOTHING,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Milliseconds on one core to send and to receive, and what is sent.

    `carried_*` is what Flower takes to carry ours; a `short_update` is written in 8 bits.
    """

    megabytes: float
    encode_ms: float
    decode_ms: float
    carried_send_ms: float
    carried_receive_ms: float
    flower_send_ms: float
    flower_receive_ms: float
    update_mb: float
    update_encode_ms: float
    update_decode_ms: float
    short_update_mb: float
    short_update_encode_ms: float
    short_update_decode_ms: float

    @property
    def ours_ms(self) -> float:
        """Return what it takes to encode, hash and decode a model."""
        return self.encode_ms + self.decode_ms

    @property
    def flower_ms(self) -> float:
        """Return what Flower takes for the same."""
        return self.flower_send_ms + self.flower_receive_ms

    @property
    def met(self) -> bool:
        """Tell whether it takes no longer than it should."""
        return self.ours_ms <= TARGET_MS


def measure(*, parameters: int, repeats: int) -> Row:
    """Return a model's way from the coordinator to a site, and an update's way back."""
    settle_in()  # as daemons do
    key = SigningKey(Ed25519PrivateKey.generate())
    model_P = seeds.stream(0, "bench wire").normal(scale=0.1, size=parameters).astype(np.float32)
    model_P.flags.writeable = False  # as a run's weights are
    update_P = clip_update(model_P.astype(np.float64), CLIP)
    parts = _sent(model_P, key)
    message = b"".join(parts)
    exact, short = bench_plan([_SITE]), bench_plan([_SITE], encoding="8-bit")
    update, short_update = _update_sent(update_P, exact, key), _update_sent(update_P, short, key)
    carried = _flower_sent(pack(*parts))
    arrays = [np.ascontiguousarray(layer_P) for layer_P in np.array_split(model_P, _LAYERS)]
    own = _flower_sent(_as_record(arrays))
    ways: dict[str, Callable[[], object]] = {
        "encode": partial(_sent, model_P, key),
        "decode": partial(_received, message, key, parameters),
        "carried send": lambda: _flower_sent(pack(*parts)),
        "carried receive": lambda: unpack(_flower_received(*carried), at_most=len(message)),
        "flower send": lambda: _flower_sent(_as_record(arrays)),
        "flower receive": lambda: _arrays_of(_flower_received(*own)),
        "update encode": partial(_update_sent, update_P, exact, key),
        "update decode": partial(_update_received, update, exact, key, parameters),
        "short update encode": partial(_update_sent, update_P, short, key),
        "short update decode": partial(_update_received, short_update, short, key, parameters),
    }
    times_ms = interleaved_ms(ways, repeats=repeats)
    return Row(
        megabytes=4e-6 * parameters,
        update_mb=1e-6 * len(update),
        short_update_mb=1e-6 * len(short_update),
        **{f"{way.replace(' ', '_')}_ms": times_ms[way] for way in ways},
    )


def _sent(model_P: NDArray[np.float32], key: SigningKey) -> tuple[Bytes, ...]:
    """Return the message of a round, as the coordinator makes it."""
    body = parameter_bytes(model_P)
    plan = bench_plan([_SITE], parameters=body_digest(body))
    statement = PlanStatement(plan=plan, expires=1 << 40, body=plan.parameters, log=EMPTY_LOG)
    return sealed_parts(statement, body, key)


def _received(message: bytes, key: SigningKey, parameters: int) -> NDArray[np.float32]:
    """Return the model that a site computes with."""
    statement, body = unseal(message, PlanStatement, key.verifying_key)
    (model_P,) = received_vectors(statement, body, num_parameters=parameters)
    return model_P


def _update_sent(update_P: NDArray[np.float64], plan: RoundPlan, key: SigningKey) -> bytes:
    """Return a site's answer."""
    body = updates.encode(update_P, plan.terms)
    statement = AnswerStatement(
        site=_SITE,
        run=plan.run,
        round=plan.round,
        phase=plan.phase,
        plan=plan.digest,
        body=body_digest(body),
        refusal=None,
        privacy=_STATED,
        log=EMPTY_LOG,
    )
    return seal(statement, body, key)


def _update_received(message: bytes, plan: RoundPlan, key: SigningKey, parameters: int) -> SiteReply:
    """Return what the coordinator folds."""
    answer = Answer(site=_SITE, payload=message)
    return screen(answer, plan, key.verifying_key, num_parameters=parameters)


def _as_record(arrays: list[NDArray[np.float32]]) -> RecordDict:
    return RecordDict({"model": ArrayRecord(arrays)})


def _arrays_of(content: RecordDict) -> list[NDArray[np.float32]]:
    return [
        np.asarray(array, dtype=np.float32) for array in content.array_records["model"].to_numpy_ndarrays()
    ]


def _flower_sent(content: RecordDict) -> tuple[str, dict[str, bytes]]:
    """Return the objects that Flower would store or push, by their hashes."""
    with no_object_id_recompute():  # as Flower itself does, and our coordinator
        objects = get_all_nested_objects(content)
        return content.object_id, {name: each.deflate() for name, each in objects.items()}


def _flower_received(name: str, objects: dict[str, bytes]) -> RecordDict:
    """Return the content that was sent as `objects`."""
    content = inflate_object_from_contents(name, objects, keep_object_contents=True)
    if not isinstance(content, RecordDict):
        raise TypeError(f"Flower made a {type(content).__name__} of a RecordDict")
    return content
