"""Coordinator and hospitals as real processes over TLS, started with the commands that people type."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

from fed_client.config import load_site_config
from fed_common.ledger_record import LedgerEvent, LedgerRecord
from fed_common.names import RunId, SiteName
from fed_common.signing import SigningKey
from fed_server.journal import Journal, RunEvent
from fed_server.run_folder import RunFolder
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.scenario import Scenario

AMPLE_S = 240.0
SCENARIO = Scenario.model_validate(
    {
        "name": "small",
        "quorum": {"sites": 2, "deadline_s": 60.0},
        "training": {"rounds": 3, "steps_per_round": 2, "learning_rate": 0.1, "momentum": 0.5},
        "privacy": {"epsilon": 8.0, "sampling_rate": 0.2, "noise_multiplier": 4.0},
        "evaluation": {"every": 3, "noise_multiplier": 4.0},
        "policy": {"min_patients": 10},
    },
    strict=False,
)


def command(package: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", package, *map(str, arguments)]


def run(package: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(package, *arguments), capture_output=True, text=True, timeout=AMPLE_S, check=False
    )


@contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes to `log`; whatever still runs in the end is killed."""
    with log.open("a") as out, subprocess.Popen(arguments, stdout=out, stderr=out, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(happened: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + AMPLE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {AMPLE_S:g} s for: {what}"
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Federation:
    """A consortium whose processes a test starts and kills."""

    consortium: Consortium
    stack: ExitStack

    def server(self) -> subprocess.Popen[str]:
        arguments = command("fed_server", "start", "--config", self.consortium.federation_file, "--json")
        return self.stack.enter_context(running(arguments, self.consortium.root / "server.log"))

    def site(self, name: SiteName) -> subprocess.Popen[str]:
        arguments = command("fed_client", "start", "--config", self.consortium.site_file(name))
        return self.stack.enter_context(running(arguments, self.site_log(name)))

    def sites(self) -> dict[SiteName, subprocess.Popen[str]]:
        return {name: self.site(name) for name in self.consortium.sites}

    def site_log(self, name: SiteName) -> Path:
        return self.consortium.root / name / "client.log"

    @property
    def server_log(self) -> str:
        return (self.consortium.root / "server.log").read_text()

    @property
    def folder(self) -> RunFolder:
        folder = RunFolder.current(self.consortium.root / "runs")
        assert folder is not None
        return folder

    def events(self) -> tuple[RunEvent, ...]:
        """Return the journal so far; empty before there is a run."""
        current = RunFolder.current(self.consortium.root / "runs")
        return Journal(current.path / "journal.jsonl").read() if current else ()

    def ledger(self, name: SiteName) -> tuple[LedgerEvent, ...]:
        config = load_site_config(self.consortium.site_file(name))
        return LedgerRecord.read(config.ledger, SigningKey.load(config.identity).verifying_key).events

    def charges(self, name: SiteName) -> list[tuple[RunId, int, str]]:
        return [(event.run, event.round, event.phase) for event in self.ledger(name)]


@contextmanager
def federation(root: Path, hospitals: Path, scenario: Scenario = SCENARIO) -> Iterator[Federation]:
    with ExitStack() as stack:
        consortium = found_consortium(root, hospitals=hospitals, scenario=scenario, port=free_port())
        yield Federation(consortium=consortium, stack=stack)


def finish(process: subprocess.Popen[str]) -> int:
    return process.wait(timeout=AMPLE_S)


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=10)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
