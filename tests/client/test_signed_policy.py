"""Only the privacy officer changes what a hospital allows, and the same patients have one budget."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.signed_sites import SPEND, charge, edited, officer_of, site_over, spent, started
from typer.testing import CliRunner

from fed_client.config import load_site_config, read_site_config, verify_signature
from fed_client.policy_commands import app, officer_key, sign_site_file
from fed_client.signed_policy import remember_officer
from fed_common.errors import PrivacyError, TrustError
from fed_common.key_files import write_officer_keys
from fed_common.signing import SigningKey


@pytest.fixture
def officer(tmp_path: Path) -> Path:
    write_officer_keys(tmp_path / "officer", passphrase=None)
    return tmp_path / "officer" / "officer.key"


@pytest.fixture
def site_file(tmp_path: Path, officer: Path) -> Path:
    path = site_over(tmp_path / "north", tmp_path / "images")
    sign_site_file(path, officer)
    return path


def test_a_signed_policy_is_accepted_and_can_be_signed_again(site_file: Path, officer: Path) -> None:
    started(site_file)
    edited(site_file, "epsilon = 8.0", "epsilon = 9.0")
    sign_site_file(site_file, officer)
    assert started(site_file).policy.epsilon == 9.0


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("epsilon = 8.0", "epsilon = 9.0", "policy.epsilon"),
        ("[policy]\n", "[policy]\nmin_cohort = 1\n", "policy.min_cohort"),
        ('state = "state"', 'state = "elsewhere"', "state"),
        ('witness = "witness"', 'witness = "elsewhere"', "witness"),
        ('name = "north"', 'name = "south"', "site"),
        ("/images", "/other-images", "images"),
        ("[data]\n", "[data]\nfile_is_patient = true\n", "unit"),
    ],
)
def test_what_was_changed_since_is_refused_and_named(site_file: Path, old: str, new: str, named: str) -> None:
    edited(site_file, old, new)
    with pytest.raises(PrivacyError, match=f"signed: {named};.* `fed-client policy sign") as refused:
        load_site_config(site_file)
    assert refused.value.exit_code == 4


def test_an_unsigned_policy_is_refused_with_what_to_run(site_file: Path) -> None:
    read_site_config(site_file).signature.unlink()
    with pytest.raises(PrivacyError, match=r"not signed; .* `fed-client policy sign --config site\.toml"):
        load_site_config(site_file)


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw.replace(b"8.0", b"9.0"), lambda raw: b"", lambda raw: raw[1:]]
)
def test_a_forged_signature_is_refused(site_file: Path, spoil: Callable[[bytes], bytes]) -> None:
    signature = read_site_config(site_file).signature
    signature.write_bytes(spoil(signature.read_bytes()))
    edited(site_file, "epsilon = 8.0", "epsilon = 9.0")
    with pytest.raises(PrivacyError, match="not the officer's signature"):
        load_site_config(site_file)


def test_another_officer_than_the_one_known_is_refused(site_file: Path, tmp_path: Path) -> None:
    started(site_file)
    write_officer_keys(tmp_path / "insider", passphrase=None)
    edited(site_file, "../officer/", "../insider/")
    sign_site_file(site_file, tmp_path / "insider" / "officer.key")
    with pytest.raises(PrivacyError, match="not the one that this site knows"):
        load_site_config(site_file)


def test_the_policy_of_before_does_not_come_back(site_file: Path, officer: Path, tmp_path: Path) -> None:
    for name in ("site.toml", "site.toml.signed"):
        shutil.copy2(site_file.parent / name, tmp_path / name)
    edited(site_file, "epsilon = 8.0", "epsilon = 2.0")
    config = read_site_config(site_file)
    sign_site_file(site_file, officer)
    newest = verify_signature(read_site_config(site_file))
    remember_officer(config.state, officer_of(config), signed=newest.signed + 1)
    for name in ("site.toml", "site.toml.signed"):
        shutil.copy2(tmp_path / name, site_file.parent / name)
    with pytest.raises(PrivacyError, match="older than the policy last in force"):
        load_site_config(site_file)


def test_only_the_officer_whom_the_site_names_can_sign(site_file: Path, tmp_path: Path) -> None:
    write_officer_keys(tmp_path / "insider", passphrase=None)
    with pytest.raises(PrivacyError, match="not the one of"):
        sign_site_file(site_file, tmp_path / "insider" / "officer.key")


def test_a_passphrase_protects_the_officers_key(tmp_path: Path) -> None:
    said = "correct horse\n"
    made = CliRunner().invoke(app, ["keys", "--out", str(tmp_path / "o"), "--passphrase"], input=2 * said)
    assert made.exit_code == 0, made.output
    with pytest.raises(TrustError, match="another passphrase"):
        SigningKey.load(tmp_path / "o" / "officer.key")
    assert SigningKey.load(tmp_path / "o" / "officer.key", passphrase=b"correct horse")
    plain = tmp_path / "plain"
    write_officer_keys(plain, passphrase=None)
    assert officer_key(plain / "officer.key").verifying_key.fingerprint


def test_a_second_site_over_the_same_images_is_not_signed_for(
    site_file: Path, officer: Path, tmp_path: Path
) -> None:
    charge(started(site_file))
    for name, images in (("alias", tmp_path / "images"), ("part", tmp_path / "images" / "2024")):
        alias = site_over(tmp_path / name, images, name=name)
        with pytest.raises(PrivacyError, match="a second ledger would be a second budget"):
            sign_site_file(alias, officer)
        with pytest.raises(PrivacyError, match="not signed"):
            load_site_config(alias)


def test_other_images_have_their_own_budget(site_file: Path, officer: Path, tmp_path: Path) -> None:
    other = site_over(tmp_path / "other", tmp_path / "other-images", name="other")
    sign_site_file(other, officer)
    assert load_site_config(other).name == "other"


def test_a_renamed_site_goes_on_with_its_ledger(site_file: Path, officer: Path) -> None:
    charge(started(site_file))
    edited(site_file, 'name = "north"', 'name = "north-clinic"')
    sign_site_file(site_file, officer)
    config = started(site_file)
    charge(config)
    assert spent(config) == [SPEND, SPEND]


def test_a_moved_state_folder_is_signed_for_only_with_its_ledger(site_file: Path, officer: Path) -> None:
    config = started(site_file)
    charge(config)
    sign_site_file(site_file, officer)
    edited(site_file, 'state = "state"', 'state = "moved"')
    with pytest.raises(PrivacyError, match="a second budget"):  # the old one is still there
        sign_site_file(site_file, officer)
    away = config.state.rename(site_file.parent / "put-away")
    with pytest.raises(PrivacyError, match="a second budget"):  # the new one is empty
        sign_site_file(site_file, officer)
    away.rename(site_file.parent / "moved")
    sign_site_file(site_file, officer)
    moved = started(site_file)
    charge(moved)
    assert spent(moved) == [SPEND, SPEND]
