"""Under stock Flower's runtimes the same federation gives the same model, budgets and audit logs."""

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import tomli_w
from flwr.app import Message, RecordDict
from tests.client.dataset.folders import direct_reading
from tests.client.fake_randomness import FakeRandomness
from tests.contracts.stock_flower import APP, simulated
from tests.end_to_end.processes import AMPLE_S, SCENARIO, edited, running, stop, wait_until
from tests.end_to_end.test_main_job import give_the_same_pseudonyms, last_parameters
from tests.ports import free_port

from fed_client.config import load_site_config
from fed_client.opening import opened_site, register_configured
from fed_common.audit_log.facts import RequestsRefused
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError
from fed_server.journal import RoundPublished
from fed_server.run_folder import RunFolder
from fed_server.settings import AggregationTable
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.flower_app import client, server
from fed_sim.phantoms import write_phantoms
from fed_sim.simulation import simulate

TINY = SCENARIO.model_copy(
    update={
        "aggregation": AggregationTable(masked=False),
        "quorum": SCENARIO.quorum.model_copy(update={"sites": 3}),
        "training": SCENARIO.training.model_copy(update={"rounds": 2}),
    }
)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation of three tiny hospitals, whose images are registered."""
    root = tmp_path_factory.mktemp("stock-flower")
    write_phantoms(root / "hospitals", sites=3, seed=1, patients=(16, 16, 16), test_patients=8)
    consortium = found_consortium(
        root / "federation", hospitals=root / "hospitals", scenario=TINY, open_reader=direct_reading
    )
    give_the_same_pseudonyms(consortium)
    for site in consortium.sites:
        register_configured(load_site_config(consortium.site_file(site)), open_reader=direct_reading)
    return consortium.root


@pytest.fixture
def consortium(registered: Path, tmp_path: Path) -> Consortium:
    return Consortium.at(shutil.copytree(registered, tmp_path / "stock"))


def test_stock_flower_and_our_simulation_give_the_same_bits(
    registered: Path, consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Consortium.at(shutil.copytree(registered, tmp_path / "ours"))
    simulate(ours, observer=lambda _: None, randomness=FakeRandomness())

    monkeypatch.setattr(client, "opened_site", partial(opened_site, randomness=FakeRandomness()))
    file = str(consortium.federation_file)
    with simulated(client.app, nodes=3, monkeypatch=monkeypatch, federation=file) as (grid, context):
        server.app(grid, context)
    assert last_parameters(consortium.root) == last_parameters(ours.root)


def test_masks_and_a_relative_path_are_refused(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(consortium.federation_file, "masked = false", "masked = true")
    for file, reason in ((str(consortium.federation_file), "masked = false"), ("here.toml", "absolute path")):
        with (
            simulated(client.app, nodes=1, monkeypatch=monkeypatch, federation=file) as (grid, context),
            pytest.raises(ConfigError, match=reason),
        ):
            server.app(grid, context)


def test_a_node_beyond_the_sites_is_told_so_and_what_is_no_question_is_in_the_audit_log(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = str(consortium.federation_file)
    with simulated(client.app, nodes=4, monkeypatch=monkeypatch, federation=file) as (grid, _):
        asked = [Message(RecordDict(), node, "train", ttl=AMPLE_S) for node in grid.get_node_ids()]
        replies = list(grid.send_and_receive(asked, timeout=AMPLE_S))
    assert sorted(str(reply.error.reason) for reply in replies) == [
        "ConfigError",
        *["MalformedMessageError"] * 3,
    ]
    assert "num-supernodes must be 3" in caplog.text
    for site in consortium.sites:
        log = AuditLog(load_site_config(consortium.site_file(site)).audit)
        assert log.read()[-1].fact == RequestsRefused(code="question-malformed", count=1)


SCRIPTS = Path(sys.executable).parent
LINK = "from flwr.superlink.cli import flower_superlink as main; main()"
NODE = "from flwr.supernode.cli import flower_supernode as main; main()"


@pytest.fixture
def flower_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep Flower's processes away from the user's files and from other machines."""
    home = tmp_path / "flower"
    home.mkdir()
    for name, value in {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.mark.slow
@pytest.mark.skipif(not (SCRIPTS / "flwr").exists(), reason="Flower's commands aren't beside this Python")
@pytest.mark.parametrize(
    "runtime",
    [
        "supernode",
        pytest.param(
            "ray",
            marks=pytest.mark.skipif(
                find_spec("ray") is None, reason="ray isn't there: the extra `ray` has it"
            ),
        ),
    ],
)
def test_flwr_run_makes_a_signed_round(consortium: Consortium, flower_home: Path, runtime: str) -> None:
    port, file = free_port(), consortium.federation_file
    settings = tomllib.loads(file.read_text())
    # One SuperNode is enough: each of its messages is a process of some seconds.
    settings["quorum"] |= {"sites": 1, "gather_s": 0.0, "deadline_s": AMPLE_S}
    file.write_text(tomli_w.dumps(settings))
    (flower_home / "config.toml").write_text(
        f'[superlink.loopback]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    loopback = ["--insecure", "--host", "127.0.0.1", "--port"]
    # Ray is left to end by itself.
    simulation, ended = (["--simulation"], ["--stream"]) if runtime == "ray" else ([], [])
    with ExitStack() as stack:

        def start(main: str, *arguments: str) -> None:
            command = [sys.executable, "-c", main, *arguments]
            process = stack.enter_context(running(command, flower_home / "log"))
            stack.callback(stop, process)

        start(LINK, *loopback, str(port), *simulation)
        wait_until(lambda: listens(port), what="SuperLink")
        if runtime == "supernode":
            site = consortium.site_file(consortium.sites[0])
            link = ["--superlink", f"127.0.0.1:{port}", "--node-config", f'site="{site}"']
            start(NODE, *loopback, str(free_port()), *link)
        config = ["--run-config", f'federation="{file}"', "--federation-config", "num-supernodes=3"]
        run = [str(SCRIPTS / "flwr"), "run", str(APP), "loopback", *config, *ended]
        subprocess.run(run, check=True, timeout=AMPLE_S)
        wait_until(lambda: published(consortium), what="round 1")


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def published(consortium: Consortium) -> bool:
    folder = RunFolder.current(consortium.root / "runs")
    events = folder.journal.read() if folder else ()
    return any(isinstance(event, RoundPublished) and event.sites for event in events)
