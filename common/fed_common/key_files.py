"""Makes key pairs where they are used, readable by their owner alone; only the public halves travel."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fed_common.signing import VerifyingKey


def write_site_keys(folder: Path, *, passphrase: bytes | None = None) -> None:
    """Write a site's two key pairs into `folder`: `node` logs in to the server, `identity` signs.

    The private keys are encrypted if there is a `passphrase`.

    Raises:
        OSError: the folder can't be written, or holds keys already.
    """
    make_private_folder(folder)
    key = generate_private_key(SECP256R1())
    write_private(folder / "node.key", pem(key, passphrase=passphrase))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (folder / "node.pub").write_bytes(public + b"\n")
    write_identity(folder, passphrase=passphrase)


def write_identity(folder: Path, *, name: str = "identity", passphrase: bytes | None = None) -> None:
    """Write the Ed25519 key pair with which its owner signs, encrypted if there is a `passphrase`.

    Raises:
        OSError: the folder can't be written, or holds such a key already.
    """
    key = Ed25519PrivateKey.generate()
    write_private(folder / f"{name}.key", pem(key, passphrase=passphrase))
    (folder / f"{name}.pub").write_bytes(VerifyingKey(key.public_key()).pem)


def write_officer_keys(folder: Path, *, passphrase: bytes | None) -> None:
    """Write a privacy officer's Ed25519 key pair, encrypted if there is a `passphrase`.

    Raises:
        OSError: the folder can't be written, or holds such a key already.
    """
    make_private_folder(folder)
    key = Ed25519PrivateKey.generate()
    write_private(folder / "officer.key", pem(key, passphrase=passphrase))
    (folder / "officer.pub").write_bytes(VerifyingKey(key.public_key()).pem)


def pem(key: EllipticCurvePrivateKey | Ed25519PrivateKey, *, passphrase: bytes | None = None) -> bytes:
    """Return a private key as PKCS 8, encrypted if there is a `passphrase`."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read.

    Raises:
        FileExistsError: it is there already; a key is never overwritten.
    """
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
