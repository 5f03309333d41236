"""The image's steps and the composed federation, run for real on a machine that has no container engine."""

import os
import re
import shlex
import sys
from collections.abc import Iterator

import pytest
from tests.docker.clean_room import Room, clean_room
from tests.docker.container_files import ROOT, build_script, service_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HOSPITALS = ("hospital-1", "hospital-2", "hospital-3")
FEDERATION = f"""
set -e
ip link set lo up
echo 127.0.0.1 server >> /etc/hosts
{service_script("prepare")}
sed -i 's/^rounds = .*/rounds = 2/; s/^epsilon = .*/epsilon = 3.0/' /volumes/coordinator/federation.toml
trap 'kill $daemons; wait' EXIT
{"".join(f'{service_script(name)} & daemons="$daemons $!"; ' for name in HOSPITALS)}
{service_script("server")}
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a room of one's own to build the image in needs Linux and root")
    with clean_room(tmp_path_factory.mktemp("room")) as room:
        if room is None:
            pytest.skip("this machine lets nobody mount an overlay")
        built = room.run(build_script())
        assert built.returncode == 0, built.stdout
        yield room


def test_image_holds_what_is_needed_to_run_at_the_locked_versions_and_nothing_else(image: Room) -> None:
    frozen = image.run("/opt/fed/bin/python -m pip freeze --exclude fed-hospitals").stdout
    installed = set(re.sub(r"\+\S+", "", frozen).lower().replace("_", "-").split())
    locked = {line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"}
    assert installed <= locked
    assert not {name.partition("==")[0] for name in installed} & {"pytest", "mypy", "ruff", "hypothesis"}


def test_composed_federation_trains_without_privileges_or_network(image: Room) -> None:
    ended = image.run(f"unshare --net sh -c {shlex.quote(FEDERATION)}")
    assert ended.returncode == 0, ended.stdout
    runs = image.run("ls /volumes/coordinator-state/runs/*")
    assert "report" in runs.stdout, runs.stdout
    for name in HOSPITALS:
        assert image.run(f"test -s /volumes/{name}-witness/ledger").returncode == 0
