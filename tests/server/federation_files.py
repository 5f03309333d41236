"""A coordinator's files for tests of its commands: federation.toml, task.toml, keys and register."""

from pathlib import Path

import tomli_w
from tests.fakes import SITES, TASK
from typer.testing import CliRunner

from fed_common.errors import FedError
from fed_server.cli import app
from fed_server.dev_certificates import write_dev_certificates

TASK_TOML = f'name = "{TASK.name}"\nclasses = ["healthy", "sick"]\npositive = "sick"\n[recipe]\n'


def write_federation(root: Path) -> Path:
    """Return a federation.toml whose sites are enrolled."""
    write_dev_certificates(root / "keys", sites=SITES, hosts=["127.0.0.1"], federation="play")
    (root / "task.toml").write_text(TASK_TOML)
    tables = {
        "federation": {"name": "play", "task": "task.toml", "runs": "runs"},
        "server": {
            "host": "127.0.0.1",
            "port": 8443,
            "ca": "keys/ca.crt",
            "certificate": "keys/server/tls.crt",
            "key": "keys/server/tls.key",
            "identity": "keys/server/identity.key",
            "registry": "keys/registry",
        },
        "sites": [{"name": site, "patients": 100} for site in SITES],
        "quorum": {"sites": 2},
        "training": {"rounds": 2, "steps_per_round": 1, "learning_rate": 0.1},
        "privacy": {"epsilon": 8.0, "sampling_rate": 0.1},
    }
    path = root / "federation.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def run(*words: str | Path) -> str:
    """Run a command; what it raises for `main` to print is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, FedError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output
