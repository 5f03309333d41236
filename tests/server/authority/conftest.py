"""An empty register, and as many folders of new keys as a test wants."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.server.authority.enrolling import CA

from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import SigningKey
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry


@pytest.fixture
def admissions(tmp_path: Path) -> Admissions:
    registry = Registry(folder=tmp_path / "registry", key=SigningKey(Ed25519PrivateKey.generate()))
    return Admissions(registry=registry, ca=CA.certificate)


@pytest.fixture
def new_keys(tmp_path: Path) -> Iterator[KeyFolder]:
    def folders() -> Iterator[KeyFolder]:
        number = 0
        while True:
            folder = KeyFolder(path=tmp_path / f"keys-{number}")
            folder.make()
            yield folder
            number += 1

    return folders()
