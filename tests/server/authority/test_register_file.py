"""Nobody edits the register unseen, and a crash leaves it readable."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.server.authority.enrolling import NORTH, SOUTH, enrol

from fed_common.errors import TrustError
from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import SigningKey
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry


def test_a_line_taken_out_changed_moved_or_signed_by_another_is_named(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    enrol(admissions, next(new_keys))
    path = admissions.registry.folder / "north.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1]
    forged = [
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[1].replace(b'"site":"north"', b'"site":"south"'), lines[2]],
        [b"Nonsense {}", *lines[1:]],
    ]
    for wrong in forged:
        path.write_bytes(b"\n".join(wrong) + b"\n")
        with pytest.raises(TrustError, match=r"the register of north, line \d"):
            admissions.registry.standing(NORTH)
    path.write_bytes(b"\n".join(lines) + b"\n")
    stranger = Registry(folder=admissions.registry.folder, key=SigningKey(Ed25519PrivateKey.generate()))
    with pytest.raises(TrustError, match="line 1"):
        stranger.standing(NORTH)


def test_another_site_s_file_enrols_nobody(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    enrol(admissions, next(new_keys))
    folder = admissions.registry.folder
    (folder / "south.jsonl").write_bytes((folder / "north.jsonl").read_bytes())
    with pytest.raises(TrustError, match="line 1"):
        admissions.registry.standing(SOUTH)


def test_a_line_torn_by_a_crash_never_happened(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    enrol(admissions, next(new_keys))
    with (admissions.registry.folder / "north.jsonl").open("ab") as file:
        file.write(b'SiteRevoked {"fact":')
    assert admissions.registry.standing(NORTH).state == "enrolled"
    assert admissions.revoke(NORTH, "stolen").state == "revoked"
    assert admissions.registry.standing(NORTH).state == "revoked"


def test_another_process_s_word_is_seen_at_once(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    enrol(admissions, next(new_keys))
    server = Registry(folder=admissions.registry.folder, key=admissions.registry.key)
    assert server.standing(NORTH).state == "enrolled"
    admissions.revoke(NORTH, "stolen")
    assert server.standing(NORTH).state == "revoked"
