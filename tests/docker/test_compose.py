"""What compose.yaml promises of every container, and that a container engine would read it the same way."""

import subprocess
import sys
from collections.abc import Mapping
from typing import TypedDict

import pytest
import yaml
from tests.docker.container_files import COMPOSE_FILE

PARTIES = ("server", "hospital-1", "hospital-2", "hospital-3")


class Service(TypedDict, total=False):
    user: str
    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    ports: list[str]
    networks: list[str]
    volumes: list[str]


class Compose(TypedDict):
    services: Mapping[str, Service]
    networks: Mapping[str, Mapping[str, bool]]


@pytest.fixture(scope="module")
def compose() -> Compose:
    read: Compose = yaml.safe_load(COMPOSE_FILE.read_text())
    return read


def test_file_follows_the_compose_specification() -> None:
    pytest.importorskip(
        "check_jsonschema", reason="brings the specification's schema; it is in the lock file"
    )
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(COMPOSE_FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", PARTIES)
def test_party_can_write_nothing_but_its_own_state(compose: Compose, name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"]
    owner = "coordinator" if name == "server" else name
    assert all(volume.startswith(owner) for volume in service["volumes"])
    assert [volume for volume in service["volumes"] if volume.endswith(":ro")] == [f"{owner}:/fed:ro"]


@pytest.mark.parametrize("name", PARTIES)
def test_party_has_no_privileges(compose: Compose, name: str) -> None:
    service = compose["services"][name]
    assert "user" not in service, "the image's own user is not root"
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_hospital_reaches_the_server_and_nothing_else(compose: Compose) -> None:
    members = {name: set(compose["services"][name]["networks"]) for name in PARTIES}
    for hospital in PARTIES[1:]:
        assert [name for name in PARTIES if members[name] & members[hospital]] == ["server", hospital]
    assert all(network["internal"] for network in compose["networks"].values())
    assert not any("ports" in service for service in compose["services"].values())
