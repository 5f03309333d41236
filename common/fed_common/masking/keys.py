"""A site's keys of one session, and what two sites derive from them for masks and sealed shares.

X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), AES-256-GCM. Every derived key names what it is for, the roster
that all have signed, and both sites in order, so that no two uses share a key.
"""

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fed_common.errors import TrustError
from fed_common.names import Digest, SiteName

# A derived key seals one share, so its nonce needs not differ.
_NONCE = bytes(12)


@dataclass(frozen=True, kw_only=True)
class SessionSecrets:
    """What a site keeps to itself for one session and never writes down; whoever drops it has erased it.

    `self_seed` is the key of the mask that hides the update even from whoever learns `mask_key`.
    """

    sealing_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)
    mask_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)
    self_seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


def agree(private: X25519PrivateKey, public: str) -> bytes:
    """Return the secret that only the owners of the two keys know; `public` is hexadecimal.

    Raises:
        TrustError: the public key is none, or a point of low order, with which anybody knows the secret.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except ValueError as error:
        raise TrustError("a session key is no X25519 key, or one that makes secrets guessable") from error


def derive(secret: bytes, info: bytes) -> bytes:
    """Return a key of 32 bytes for the use that `info` names."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def pair_mask(private: X25519PrivateKey, public: str, *, roster: Digest, pair: frozenset[SiteName]) -> bytes:
    """Return the key of the mask that one of the pair adds and the other takes away.

    Raises:
        TrustError: see `agree`.
    """
    return derive(agree(private, public), _info("mask", roster, sorted(pair)))


def seal_share(share: bytes, secret: bytes, *, roster: Digest, dealer: SiteName, holder: SiteName) -> str:
    """Return the share so that only `holder` can read it, in hexadecimal."""
    info = _info("share", roster, [dealer, holder])
    return AESGCM(derive(secret, info)).encrypt(_NONCE, share, info).hex()


def open_share(sealed: str, secret: bytes, *, roster: Digest, dealer: SiteName, holder: SiteName) -> bytes:
    """Return the share that `dealer` sealed for `holder`.

    Raises:
        TrustError: it was altered, or sealed for another roster or site.
    """
    info = _info("share", roster, [dealer, holder])
    try:
        return AESGCM(derive(secret, info)).decrypt(_NONCE, bytes.fromhex(sealed), info)
    except (InvalidTag, ValueError) as error:
        raise TrustError(f"the share that {dealer} dealt to {holder} was altered on its way") from error


def public_hex(private: X25519PrivateKey) -> str:
    """Return the public half as it is advertised."""
    return private.public_key().public_bytes_raw().hex()


def _info(use: str, roster: Digest, sites: list[SiteName]) -> bytes:
    return "|".join(["FedSum v1", use, roster, *sites]).encode("ascii")
