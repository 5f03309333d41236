"""The main job on one machine, as it would be on four: a coordinator and hospital daemons over TLS.

Every party is a process of its own, started with the command that a real one would use.
"""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fed_common.errors import ConfigError, MachineError
from fed_common.names import SiteName
from fed_server.run_folder import RunFolder
from fed_sim.consortium import Consortium

MARKER = ".fed-demo"
_GRACE_S = 10


def fresh_folder(out: Path) -> None:
    """Make `out` an empty folder, deleting what an earlier demo left there, and nothing else.

    Raises:
        ConfigError: `out` holds something that is not a demo's.
        MachineError: the disk refuses.
    """
    try:
        if out.exists():
            if any(out.iterdir()) and not (out / MARKER).exists():
                raise ConfigError(f"{out}: is not empty and was not made by a demo; choose another --out")
            shutil.rmtree(out)
        out.mkdir(parents=True)
        (out / MARKER).touch()
    except OSError as error:
        raise MachineError(f"{out}: can't be used ({error.strerror})") from error


def refuse_taken_port(port: int) -> None:
    """Return only if nobody listens on `port` of this machine.

    Raises:
        MachineError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MachineError(f"port {port} is taken; choose another with --port") from error


def run_service(consortium: Consortium, *, json: bool) -> int:
    """Return the coordinator's exit code; its progress goes to this terminal, the hospitals' to log files."""
    with ExitStack() as stack:
        for site in consortium.sites:
            stack.enter_context(_daemon(consortium, site))
        command = _command("fed_server", "start", "--config", str(consortium.federation_file))
        return subprocess.run([*command, *(["--json"] if json else [])], check=False).returncode


def publish_audited(consortium: Consortium, *, json: bool) -> int:
    """Return the exit code of the audit of the installed code, or that of publishing the model with it."""
    run = RunFolder.current(consortium.root / "runs")
    if run is None:
        raise ConfigError(f"{consortium.root}: holds no run to publish")
    audit, published = consortium.root / "audit.json", consortium.root / "published"
    publish = ("publish", run.run, "--config", str(consortium.federation_file), "--audit", str(audit))
    for command in (
        _command("fed_sim", "audit", "--out", str(audit)),
        _command("fed_server", *publish, "--out", str(published)),
    ):
        # With --json, standard output belongs to the events of the run.
        exit_code = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL if json else None
        ).returncode
        if exit_code != 0:
            return exit_code
    return 0


@contextmanager
def _daemon(consortium: Consortium, site: SiteName) -> Iterator[None]:
    """Run a hospital's daemon, and stop it as an operator would: with SIGTERM."""
    command = _command("fed_client", "start", "--config", str(consortium.site_file(site)))
    with (consortium.root / site / "client.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(package: str, *arguments: str) -> list[str]:
    # The interpreter is named, because a script's first line can't hold a path with a space.
    return [sys.executable, "-m", package, *arguments]
