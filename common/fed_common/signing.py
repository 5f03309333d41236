"""Signs and verifies everything that must not be altered: plans, answers, ledger lines and manifests.

Signatures are Ed25519 over DSSE's pre-authentication encoding, which binds the payload's type: a signed
plan can't be passed off as a signed manifest.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md; Ed25519: RFC 8032.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fed_common.errors import TrustError
from fed_common.names import Digest, digest_of


@dataclass(frozen=True)
class VerifyingKey:
    """Somebody's public key: what they signed can be checked with it."""

    key: Ed25519PublicKey

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a PEM public key.

        Raises:
            TrustError: the file is missing or holds no Ed25519 public key.
        """
        try:
            return cls.from_pem(path.read_bytes())
        except (OSError, TrustError) as error:
            raise TrustError(f"{path}: not a readable Ed25519 public key") from error

    @classmethod
    def from_pem(cls, text: bytes) -> Self:
        """Return the key that `pem` wrote.

        Raises:
            TrustError: it is no Ed25519 public key.
        """
        try:
            key = load_pem_public_key(text)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TrustError("not a PEM public key") from error
        if not isinstance(key, Ed25519PublicKey):
            raise TrustError("must be an Ed25519 public key")
        return cls(key)

    @classmethod
    def from_hex(cls, raw: str) -> Self:
        """Return the key of 32 raw bytes in hexadecimal, as a plan names it.

        Raises:
            TrustError: it is none.
        """
        try:
            return cls(Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw)))
        except ValueError as error:
            raise TrustError("not an Ed25519 public key in hexadecimal") from error

    @property
    def hex(self) -> str:
        """Return the raw key as a plan names it."""
        return self.key.public_bytes_raw().hex()

    @property
    def fingerprint(self) -> Digest:
        """Identify the key: SHA-256 of its 32 raw bytes."""
        return digest_of(self.key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def spoken(self) -> str:
        """Return so much of the fingerprint as people read to each other: nobody finds another key for it."""
        return self.fingerprint[:32]

    @property
    def pem(self) -> bytes:
        """Return the key as it is written to a file and sent around."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, *, payload_type: str, payload: bytes) -> None:
        """Return only if this key signed `payload` as a `payload_type`.

        Raises:
            TrustError: it did not.
        """
        try:
            self.key.verify(signature, pre_authentication_encoding(payload_type, payload))
        except InvalidSignature as error:
            raise TrustError(
                f"{payload_type}: the signature doesn't fit key {self.fingerprint[:16]}"
            ) from error


@dataclass(frozen=True)
class SigningKey:
    """Our own private key."""

    key: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes | None = None) -> Self:
        """Read a PEM private key that nobody else on this machine may read.

        Raises:
            TrustError: the file is missing, open to others, or holds no Ed25519 private key.
        """
        refuse_shared_key_file(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=passphrase)
        except (OSError, ValueError, TypeError) as error:
            raise TrustError(f"{path}: not a readable private key, or another passphrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError(f"{path}: must be an Ed25519 private key")
        return cls(key)

    @property
    def verifying_key(self) -> VerifyingKey:
        """Return the public half."""
        return VerifyingKey(self.key.public_key())

    def sign(self, *, payload_type: str, payload: bytes) -> bytes:
        """Return the 64-byte signature of `payload` as a `payload_type`."""
        return self.key.sign(pre_authentication_encoding(payload_type, payload))


def is_encrypted_key(path: Path) -> bool:
    """Tell whether a private key needs a passphrase (RFC 7468, section 11).

    Raises:
        TrustError: the file is missing or open to others.
    """
    refuse_shared_key_file(path)
    return path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def refuse_shared_key_file(path: Path) -> None:
    """Return only if the key file is there and only its owner can use it.

    Raises:
        TrustError: it is missing, or group or others have any permission on it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TrustError(f"{path}: key file can't be read ({error.strerror})") from error
    if os.name == "posix" and mode & 0o077:
        raise TrustError(f"{path}: other users may access this key (mode {mode & 0o777:o}); chmod 600 it")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return what is really signed: lengths keep type and payload apart (DSSE v1.0, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
