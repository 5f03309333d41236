"""Keys that others may read don't open, and a signature fits one payload of one type."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.fakes import new_key

from fed_common.errors import TrustError
from fed_common.signing import SigningKey, VerifyingKey, pre_authentication_encoding


def write_key(path: Path, *, mode: int = 0o600) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(mode)
    return key


def test_the_encoding_is_the_one_of_the_specification() -> None:
    # The example of DSSE's protocol.md.
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == expected


def test_what_one_key_signs_its_other_half_verifies(tmp_path: Path) -> None:
    key = write_key(tmp_path / "key")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub").write_bytes(public)
    signing, verifying = SigningKey.load(tmp_path / "key"), VerifyingKey.load(tmp_path / "pub")
    verifying.verify(signing.sign(payload_type="a", payload=b"b"), payload_type="a", payload=b"b")
    assert verifying.fingerprint == signing.verifying_key.fingerprint


@pytest.mark.parametrize(("kind", "payload"), [("b", b"b"), ("a", b"c"), ("a ", b"b"), ("a", b"")])
def test_a_signature_fits_one_payload_of_one_type(kind: str, payload: bytes) -> None:
    key = new_key()
    signature = key.sign(payload_type="a", payload=b"b")
    with pytest.raises(TrustError):
        key.verifying_key.verify(signature, payload_type=kind, payload=payload)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_key(tmp_path / "key", mode=mode)
    with pytest.raises(TrustError, match="chmod 600"):
        SigningKey.load(tmp_path / "key")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    path = tmp_path / "key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(TrustError, match="Ed25519"):
        SigningKey.load(path)


@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_missing_or_broken_key_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(TrustError):
        SigningKey.load(path)
    with pytest.raises(TrustError):
        VerifyingKey.load(path)
