"""Encrypted keys are opened with the passphrase that site.toml names a file for, and with no other."""

from pathlib import Path

import pytest
from tests.client.site_files import write_site

from fed_client.config import read_site_config
from fed_common.errors import TrustError
from fed_common.key_files import write_private, write_site_keys


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = write_site(
        tmp_path / "site", site={"passphrase_file": "passphrase", "identity": "locked/identity.key"}
    )
    write_site_keys(path.parent / "locked", passphrase=b"correct horse")
    return path


def test_the_identity_is_opened_with_the_file_s_passphrase(site_file: Path) -> None:
    write_private(site_file.with_name("passphrase"), b"correct horse\n")
    config = read_site_config(site_file)
    assert config.passphrase == b"correct horse"
    assert config.signing_key.verifying_key.pem == (site_file.parent / "locked/identity.pub").read_bytes()


def test_another_passphrase_opens_nothing(site_file: Path) -> None:
    write_private(site_file.with_name("passphrase"), b"battery staple\n")
    with pytest.raises(TrustError, match="another passphrase"):
        _ = read_site_config(site_file).signing_key


def test_a_passphrase_that_others_can_read_is_refused(site_file: Path) -> None:
    site_file.with_name("passphrase").write_bytes(b"correct horse\n")
    with pytest.raises(TrustError, match="other users may access"):
        _ = read_site_config(site_file).signing_key
