"""What is encrypted comes back as it was, or not at all."""

from pathlib import Path

import pytest

from fed_client.dataset.sealing import (
    CHUNK_BYTES,
    Spool,
    VersionKey,
    read_sealed,
    stream_chunks,
    write_sealed,
)
from fed_common.errors import TrustError

SECRET = bytes(range(32))
SEALED_CHUNK = CHUNK_BYTES + 16
PLAIN = bytes(range(251)) * (5 * CHUNK_BYTES // 502)  # two and a half chunks


def sealed(path: Path, plain: bytes = PLAIN, *, key: VersionKey | None = None) -> VersionKey:
    key = key or VersionKey.new()
    parts = (plain[start : start + 70_001] for start in range(0, len(plain), 70_001))
    write_sealed(path, parts, num_bytes=len(plain), key=key, file="images")
    return key


def opened(path: Path, key: VersionKey, *, size: int = len(PLAIN)) -> bytes:
    target = bytearray(size)
    read_sealed(path, memoryview(target), key=key, file="images")
    return bytes(target)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(PLAIN)])
def test_what_was_written_is_read(tmp_path: Path, size: int) -> None:
    key = sealed(tmp_path / "file", PLAIN[:size])
    assert opened(tmp_path / "file", key, size=size) == PLAIN[:size]
    chunks = stream_chunks(tmp_path / "file", size, key=key, file="images")
    assert b"".join(map(bytes, chunks)) == PLAIN[:size]


def test_no_plain_text_is_on_the_disk(tmp_path: Path) -> None:
    sealed(tmp_path / "file", b"a patient's name " * 1000)
    assert b"patient" not in (tmp_path / "file").read_bytes()


def swapped(raw: bytes) -> bytes:
    return raw[SEALED_CHUNK : 2 * SEALED_CHUNK] + raw[:SEALED_CHUNK] + raw[2 * SEALED_CHUNK :]


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda raw: bytes([raw[0] ^ 1]) + raw[1:], id="a bit"),
        pytest.param(swapped, id="two chunks swapped"),
        pytest.param(lambda raw: raw[:SEALED_CHUNK] + raw[2 * SEALED_CHUNK :], id="a chunk left out"),
        pytest.param(lambda raw: raw[: 2 * SEALED_CHUNK], id="the end cut off"),
        pytest.param(lambda raw: raw + b"\0", id="something added"),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, spoilt: object) -> None:
    assert callable(spoilt)
    key = sealed(tmp_path / "file")
    (tmp_path / "file").write_bytes(spoilt((tmp_path / "file").read_bytes()))
    with pytest.raises(TrustError, match="encrypted data set"):
        opened(tmp_path / "file", key)


def test_a_shorter_set_is_no_prefix_of_a_longer_one(tmp_path: Path) -> None:
    key = sealed(tmp_path / "file")
    raw = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(raw[:SEALED_CHUNK])
    with pytest.raises(TrustError):
        opened(tmp_path / "file", key, size=CHUNK_BYTES)


def test_another_version_or_another_file_of_it_is_refused(tmp_path: Path) -> None:
    key = sealed(tmp_path / "file")
    target = memoryview(bytearray(len(PLAIN)))
    with pytest.raises(TrustError):
        read_sealed(tmp_path / "file", target, key=VersionKey.new(), file="images")
    with pytest.raises(TrustError):
        read_sealed(tmp_path / "file", target, key=key, file="table")


def test_only_the_sites_secret_unwraps_a_key() -> None:
    key = VersionKey.new()
    wrapped = key.wrap(SECRET)
    assert VersionKey.unwrap(wrapped, dataset=key.dataset, site_secret=SECRET).secret == key.secret
    for dataset, secret, text in (
        (key.dataset, bytes(32), wrapped),
        ("0" * 32, SECRET, wrapped),
        (key.dataset, SECRET, wrapped[:-2]),
    ):
        with pytest.raises(TrustError, match="another secret"):
            VersionKey.unwrap(text, dataset=dataset, site_secret=secret)


def test_every_version_is_encrypted_differently(tmp_path: Path) -> None:
    sealed(tmp_path / "one")
    sealed(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


def test_a_spool_has_no_name_and_gives_back_any_record(tmp_path: Path) -> None:
    with Spool(tmp_path, record_bytes=4) as spool:
        for number in range(5):
            spool.append(number.to_bytes(4, "big"))
        assert [spool.read(number) for number in (3, 0, 4)] == [b"\0\0\0\3", b"\0\0\0\0", b"\0\0\0\4"]
        assert list(tmp_path.iterdir()) == []
