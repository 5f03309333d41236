"""A coordinator whose enrolment desk is open, worked with the commands that people type."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w
from click.testing import Result
from tests.contracts.flower_federation import (
    wait_until,
)
from typer.testing import CliRunner

from fed_client.enrolment.joining import Joining
from fed_common.names import SiteName
from fed_common.pki.invitation import Invitation
from fed_common.pki.key_folder import KeyFolder
from fed_server.cli import app as server
from fed_server.config import load_trust_files

NORTH, SOUTH = SiteName("north"), SiteName("south")


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """A federation whose desk is open at `address`."""

    config: Path
    address: str

    def run(self, *words: object, fails: bool = False) -> Result:
        return invoke(server, *words, "--config", self.config, fails=fails)

    def invite(self, site: SiteName = NORTH) -> str:
        return self.run("invite", site, "--address", self.address).stdout.strip()


def invoke(app: object, *words: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    assert (result.exit_code != 0) == fails, (result.output, result.exception)
    return result


def found(root: Path, *options: str) -> Path:
    tables = {
        "federation": {"name": "consortium", "task": "task.toml", "runs": "runs"},
        "server": {
            "host": "127.0.0.1",
            "port": 8443,
            "ca": "keys/ca.crt",
            "certificate": "keys/server/tls.crt",
            "key": "keys/server/tls.key",
            "identity": "keys/server/identity.key",
        },
        "sites": [{"name": name, "patients": 100} for name in (NORTH, SOUTH)],
        "quorum": {"sites": 2},
        "training": {"rounds": 1, "steps_per_round": 1, "learning_rate": 0.1},
        "privacy": {"epsilon": 8.0, "sampling_rate": 0.1},
    }
    root.mkdir()
    config = root / "federation.toml"
    config.write_text(tomli_w.dumps(tables))
    invoke(server, "ca", "init", "--host", "127.0.0.1", *options, "--config", config)
    return config


@contextmanager
def opened_desk(root: Path) -> Iterator[Coordinator]:
    """Found a federation in `root` and open its desk on a free port."""
    config = found(root)
    door = replace(load_trust_files(config).door(), address=("127.0.0.1", 0))
    with door.opened(None) as port:
        yield Coordinator(config=config, address=f"https://127.0.0.1:{port}")


def enrol(coordinator: Coordinator, out: Path) -> None:
    """Play hospital and coordinator, who talk on the phone."""
    line, told = coordinator.invite(), list[str]()
    joining = Joining(keys=KeyFolder(path=out), tell=told.append)
    thread = threading.Thread(
        target=joining.online, args=(Invitation.parse(line),), kwargs={"patience_s": 30.0, "poll_s": 0.1}
    )
    thread.start()
    wait_until(lambda: "waiting" in coordinator.run("sites").stdout)
    words = told[0].rpartition(": ")[2]
    assert words.split()[0] in coordinator.run("sites").stdout
    coordinator.run("approve", NORTH, "--words", words)
    thread.join()
