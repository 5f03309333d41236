"""What coordinator and sites tell each other to co-sign a model: its statement, and a signature or a reason.

The same request always gets the same signature, so that it may come as often as it will until it expires.
"""

import time
from dataclasses import dataclass

from fed_common import signed_fact
from fed_common.artefacts.envelope import Signature
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import Refusal
from fed_common.names import Digest, SiteName
from fed_common.signing import SigningKey, VerifyingKey

_MAGIC = b"FEDC"
MAX_REQUEST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class CosignRequest:
    """The coordinator asks for a signature of `statement`, an in-toto statement of a finished model."""

    statement: str
    expires: int


@dataclass(frozen=True, kw_only=True)
class CosignAnswer:
    """A site's signature of the statement with the digest `statement`, or why it gives none."""

    site: SiteName
    statement: Digest
    signature: Signature | None
    refusal: Refusal | None


def is_cosign_request(message: bytes) -> bool:
    """Tell whether a message says that it is such a request; what counts is its signature."""
    return message.startswith(_MAGIC)


def seal_request(request: CosignRequest, key: SigningKey) -> bytes:
    """Return the request as it travels."""
    return _MAGIC + signed_fact.sign(request, key)


def open_request(message: bytes, key: VerifyingKey, *, now: float | None = None) -> CosignRequest:
    """Return the coordinator's request.

    Raises:
        TrustError: it isn't the coordinator's, or is too old.
        MalformedMessageError: it is none.
    """
    if not is_cosign_request(message) or len(message) > MAX_REQUEST_BYTES:
        raise MalformedMessageError("not a request to co-sign")
    request = signed_fact.verify(message.removeprefix(_MAGIC), CosignRequest, key)
    if not (time.time() if now is None else now) <= request.expires:
        raise TrustError("the request to co-sign has expired: replayed, or a clock is wrong")
    return request
