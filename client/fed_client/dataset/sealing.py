"""Keeps images and tables encrypted on disk: without it, a stolen disk would be a stolen archive of patients.

Each version of a data set has a random key of its own, wrapped by a key made from the site's secret (HKDF).
Each of its files has a key made from that one, and is a row of chunks under AES-256-GCM. A chunk's
associated data says which data set, which file, which place and how many there are, so that no chunk can be
swapped, left out or replayed from another version. A nonce is the chunk's number: every key writes one file.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fed_common.errors import TrustError
from fed_common.names import Digest

Bytes = bytes | bytearray | memoryview
SealedFile = Literal["images", "table", "names"]

CHUNK_BYTES = 1 << 20
_TAG_BYTES = 16
_WRAPPED_BYTES = 12 + 32 + _TAG_BYTES


@dataclass(frozen=True, kw_only=True, repr=False)  # a repr ends in a log
class VersionKey:
    """The key of one version; `dataset` is the version's random name, 32 hexadecimal digits."""

    dataset: str
    secret: bytes

    @classmethod
    def new(cls) -> Self:
        """Return a key that no other version has."""
        return cls(dataset=os.urandom(16).hex(), secret=AESGCM.generate_key(256))

    @classmethod
    def unwrap(cls, wrapped: str, *, dataset: str, site_secret: bytes) -> Self:
        """Return the key that `wrap` wrote.

        Raises:
            TrustError: it was wrapped with another secret, or for another version.
        """
        raw = bytes.fromhex(wrapped)
        try:
            if len(raw) != _WRAPPED_BYTES:
                raise InvalidTag
            secret = _wrapping(site_secret).decrypt(raw[:12], raw[12:], dataset.encode())
        except InvalidTag:
            raise TrustError("the data set was encrypted with another secret than this site's") from None
        return cls(dataset=dataset, secret=secret)

    def wrap(self, site_secret: bytes) -> str:
        """Return the key for the manifest; only the owner of the site's secret can use it."""
        nonce = os.urandom(12)
        return (nonce + _wrapping(site_secret).encrypt(nonce, self.secret, self.dataset.encode())).hex()

    def cipher(self, file: SealedFile) -> AESGCM:
        """Return the cipher of one file."""
        return AESGCM(_derived(self.secret, f"{self.dataset} {file}"))


def write_sealed(
    path: Path, parts: Iterable[Bytes], *, num_bytes: int, key: VersionKey, file: SealedFile
) -> Digest:
    """Write the `num_bytes` of all `parts` to the new file `path`, synced; return the file's SHA-256.

    Raises:
        OSError: the disk refuses.
    """
    cipher, count = key.cipher(file), _num_chunks(num_bytes)
    digest = sha256()
    with os.fdopen(_private(path), "wb") as target:
        for index, chunk in enumerate(_chunks(parts)):
            sealed = cipher.encrypt(_nonce(index), chunk, _place(key, file, index, count))
            digest.update(sealed)
            target.write(sealed)
        target.flush()
        os.fsync(target.fileno())
    return Digest(digest.hexdigest())


def read_sealed(path: Path, target: memoryview, *, key: VersionKey, file: SealedFile) -> None:
    """Decrypt the file at `path` into `target`, which must have the size of what was written.

    Raises:
        TrustError: the file isn't what was written.
        OSError: the disk refuses.
    """
    ends = 0
    for chunk in _sealed_chunks(path, len(target), key=key, file=file):
        begins, ends = ends, ends + len(chunk.sealed) - _TAG_BYTES
        chunk.open_into(target[begins:ends])


def stream_chunks(path: Path, num_bytes: int, *, key: VersionKey, file: SealedFile) -> Iterator[memoryview]:
    """Yield the plain text of the file at `path` in pieces; each is gone when the next comes.

    Raises:
        TrustError: the file isn't what was written.
        OSError: the disk refuses.
    """
    plain = memoryview(bytearray(CHUNK_BYTES))
    for chunk in _sealed_chunks(path, num_bytes, key=key, file=file):
        piece = plain[: len(chunk.sealed) - _TAG_BYTES]
        chunk.open_into(piece)
        yield piece


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _SealedChunk:
    cipher: AESGCM
    index: int
    place: bytes
    sealed: memoryview

    def open_into(self, plain: memoryview) -> None:
        try:
            self.cipher.decrypt_into(_nonce(self.index), self.sealed, self.place, plain)
        except InvalidTag:
            raise TrustError(f"chunk {self.index} of the encrypted data set was altered") from None


def _sealed_chunks(
    path: Path, num_bytes: int, *, key: VersionKey, file: SealedFile
) -> Iterator[_SealedChunk]:
    """Yield the chunks as they are stored, each gone when the next comes; nothing may follow the last."""
    cipher, count = key.cipher(file), _num_chunks(num_bytes)
    stored = memoryview(bytearray(CHUNK_BYTES + _TAG_BYTES))
    with path.open("rb", buffering=0) as source:
        for index in range(count):
            size = min(CHUNK_BYTES, num_bytes - index * CHUNK_BYTES) + _TAG_BYTES
            if source.readinto(stored[:size]) != size:
                raise TrustError(f"the encrypted data set ends before chunk {index + 1} of {count}")
            place = _place(key, file, index, count)
            yield _SealedChunk(cipher=cipher, index=index, place=place, sealed=stored[:size])
        if source.read(1):
            raise TrustError("the encrypted data set is longer than what was registered")


class Spool:
    """Records of one size on disk while a version is being made, under a key that is never stored.

    Its file has no name, so that a crash leaves nothing of it.
    """

    def __init__(self, folder: Path, *, record_bytes: int) -> None:
        self._record = record_bytes + _TAG_BYTES
        self._cipher = AESGCM(AESGCM.generate_key(256))
        # Unbuffered: records are read at random, and a buffer would read 8 KB for each.
        self._file = _nameless(folder)
        self.num_records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def append(self, record: Bytes) -> None:
        """Add a record."""
        number = self.num_records
        sealed = self._cipher.encrypt(_nonce(number), record, None)
        if len(sealed) != self._record or os.pwrite(self._file, sealed, number * self._record) != len(sealed):
            raise OSError(28, os.strerror(28))  # a short write is a full disk
        self.num_records += 1

    def read(self, number: int) -> bytes:
        """Return the record that was appended as the `number`th, from 0.

        Raises:
            TrustError: somebody altered it.
        """
        sealed = os.pread(self._file, self._record, number * self._record)
        try:
            return self._cipher.decrypt(_nonce(number), sealed, None)
        except InvalidTag:
            raise TrustError("a picture was altered while the data set was being made") from None


def _chunks(parts: Iterable[Bytes]) -> Iterator[bytearray]:
    """Cut the stream of `parts` into chunks; only the last may be shorter, and one is empty if all is."""
    pending, any_yet = bytearray(), False
    for part in parts:
        pending += part
        while len(pending) >= CHUNK_BYTES:
            yield pending[:CHUNK_BYTES]
            any_yet = True
            del pending[:CHUNK_BYTES]
    if pending or not any_yet:
        yield pending


def _num_chunks(num_bytes: int) -> int:
    return max(1, -(-num_bytes // CHUNK_BYTES))


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")


def _place(key: VersionKey, file: SealedFile, index: int, count: int) -> bytes:
    return f"{key.dataset} {file} {index} {count}".encode()


def _wrapping(site_secret: bytes) -> AESGCM:
    return AESGCM(_derived(site_secret, "wraps the keys of data sets"))


def _derived(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"fed-hospitals v1: {purpose}".encode()).derive(secret)


def _private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _nameless(folder: Path) -> int:
    path = folder / "spool"
    path.unlink(missing_ok=True)  # what a crash left, in the instant before the next line but one
    descriptor = _private(path)
    path.unlink()
    return descriptor
