"""Names of sites, runs and digests, checked where they enter so that no path or log can be led astray."""

import re
from hashlib import sha256
from typing import NewType

from blake3 import blake3

from fed_common.errors import ConfigError

SiteName = NewType("SiteName", str)
RunId = NewType("RunId", str)
Digest = NewType("Digest", str)
# What is hashed and sent; of a view, nobody may be able to change what it shows.
Bytes = bytes | memoryview

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
# Who else acts in an audit log.
_NO_SITES = ("coordinator", "stranger")


def site_name(text: str) -> SiteName:
    """Return `text` as a site name.

    Raises:
        ConfigError: the name could be mistaken for a path or an option, or for somebody else in a log.
    """
    if text in _NO_SITES:
        raise ConfigError(f"no site may be called {text}")
    return SiteName(_checked("site name", text))


def run_id(text: str) -> RunId:
    """Return `text` as a run id; the same alphabet as a site name, because it names a folder."""
    return RunId(_checked("run id", text))


def digest_of(data: Bytes) -> Digest:
    """Return the SHA-256 of `data` as 64 hexadecimal digits."""
    return Digest(sha256(data).hexdigest())


def body_digest(data: Bytes) -> Digest:
    """Return the BLAKE3 of a message's body, or of parameters, as 64 hexadecimal digits.

    These are as large as the model, and SHA-256 takes twice as long.
    """
    return Digest(blake3(data).hexdigest())


def _checked(kind: str, text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise ConfigError(
            f"{kind} must be lower-case letters, digits and dashes, at most 63, got {text[:80]!r}"
        )
    return text
