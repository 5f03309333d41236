"""Three hospitals train one model over TLS, each a process of its own, and the result can be trusted."""

from pathlib import Path

import pytest
from tests.client.fake_randomness import FakeRandomness
from tests.end_to_end.processes import (
    SCENARIO,
    command,
    edited,
    federation,
    finish,
    json_lines,
    run,
    running,
    stop,
)

from fed_common import checkpoint as checkpoints
from fed_common.models import ModelSpec
from fed_common.names import Digest
from fed_common.signing import VerifyingKey
from fed_server.journal import ModelCosigned, RoundPublished, SiteFailed
from fed_server.settings import AggregationTable
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.simulation import simulate


def last_parameters(root: Path) -> Digest:
    run_folder = next(path for path in (root / "runs").iterdir() if path.is_dir())
    key = VerifyingKey.load(root / "keys/server/identity.pub")
    return checkpoints.load(run_folder, ModelSpec(channels=1, classes=2), key).manifest.parameters


def test_three_daemons_and_a_coordinator_make_a_signed_model_and_a_report(
    tmp_path: Path, hospitals: Path
) -> None:
    with federation(tmp_path / "main job", hospitals) as started:
        server, sites = started.server(), started.sites()
        assert finish(server) == 0, started.server_log

        published = [event for event in started.events() if isinstance(event, RoundPublished)]
        assert [(event.round, len(event.sites)) for event in published] == [(1, 3), (2, 3), (3, 3)]
        (cosigned,) = (event for event in started.events() if isinstance(event, ModelCosigned))
        assert (set(cosigned.sites), cosigned.unsigned) == (set(sites), ())
        charged = [(1, "train"), (2, "train"), (3, "train"), (3, "evaluate")]
        for name in sites:
            assert [(number, phase) for _, number, phase in started.charges(name)] == charged
        assert {stop(site) for site in sites.values()} == {0}

        root = started.consortium.root
        verified = run(
            "fed_server", "verify", started.folder.path,
            "--key", root / "keys/server/identity.pub", "--task", root / "task.toml",
        )  # fmt: skip
        assert verified.returncode == 0
        assert verified.stdout.count("each patient is protected with epsilon") == 3
        shown = run(
            "fed_client", "ledger", "show", "--config", started.consortium.site_file(next(iter(sites)))
        )
        assert (shown.returncode, "4 releases" in shown.stdout, "Unit: patient" in shown.stdout) == (
            0,
            True,
            True,
        )
        site = next(iter(sites))
        copy = tmp_path / "site.json"
        exported = run("fed_client", "audit", "export", "--out", copy, "--config", root / site / "site.toml")
        assert exported.returncode == 0
        logs = run("fed_server", "audit", "verify", copy, "--config", started.consortium.federation_file)
        assert (logs.returncode, "2 logs agree" in logs.stdout) == (0, True), logs.stderr
        report = started.folder.report.read_text()
        assert "per patient" in report and "http" not in report.replace("http://www.w3.org", "")
        assert {line["event"] for line in json_lines(started.server_log)} >= {"RunStarted", "RunFinished"}
        again = run("fed_server", "start", "--config", started.consortium.federation_file)
        assert (again.returncode, "is finished" in again.stdout) == (0, True)


def test_a_tampered_model_is_not_taken_for_the_signed_one(tmp_path: Path, hospitals: Path) -> None:
    consortium = found_consortium(tmp_path / "sim", hospitals=hospitals, scenario=SCENARIO)
    folder, _ = simulate(consortium, observer=lambda _: None)
    model = folder.path / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    refused = run(
        "fed_server", "verify", folder.path,
        "--key", consortium.root / "keys/server/identity.pub", "--task", consortium.root / "task.toml",
    )  # fmt: skip
    assert refused.returncode == 5
    assert refused.stderr.count("\n") == 1 and "not the file that the manifest names" in refused.stderr


def give_the_same_pseudonyms(consortium: Consortium) -> None:
    """Patients fall to training or validation by pseudonym: the same secret makes the same split."""
    for name in consortium.sites:
        key = consortium.root / name / "state/pseudonym.key"
        key.parent.mkdir()
        key.write_bytes(name.encode().ljust(32))
        key.chmod(0o600)


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "plain"])
def test_service_and_simulation_give_the_same_bits(tmp_path: Path, hospitals: Path, masked: bool) -> None:
    scenario = SCENARIO.model_copy(
        update={
            "quorum": SCENARIO.quorum.model_copy(update={"sites": 3}),
            "aggregation": AggregationTable(masked=masked),
        }
    )
    consortium = found_consortium(tmp_path / "sim", hospitals=hospitals, scenario=scenario)
    give_the_same_pseudonyms(consortium)
    simulate(consortium, observer=lambda _: None, randomness=FakeRandomness())

    with federation(tmp_path / "service", hospitals, scenario) as started:
        give_the_same_pseudonyms(started.consortium)
        for name in started.consortium.sites:
            site = command("tests.end_to_end.deterministic_site", started.consortium.site_file(name))
            started.stack.enter_context(running(site, started.site_log(name)))
        assert finish(started.server()) == 0, started.server_log

    assert last_parameters(tmp_path / "service") == last_parameters(tmp_path / "sim")


@pytest.mark.parametrize(("quorum", "exit_code"), [(2, 0), (3, 7)])
def test_a_site_without_budget_refuses_and_the_quorum_decides(
    tmp_path: Path, hospitals: Path, quorum: int, exit_code: int
) -> None:
    tables = {
        "quorum": SCENARIO.quorum.model_copy(update={"sites": quorum, "retries": 0}),
        "aggregation": AggregationTable(masked=False),  # a masked sum of these three needs all
    }
    with federation(tmp_path / "poor", hospitals, SCENARIO.model_copy(update=tables)) as started:
        poor = started.consortium.sites[0]
        edited(started.consortium.site_file(poor), "epsilon = 8.0", "epsilon = 0.01")
        started.consortium.sign(poor)
        started.sites()
        assert finish(started.server()) == exit_code, started.server_log

        failures = [event for event in started.events() if isinstance(event, SiteFailed)]
        assert {(event.site, event.code) for event in failures} == {(poor, "budget-exhausted")}
        assert started.charges(poor) == []
        if exit_code:
            assert "2 of 3 needed sites answered (hospital-1: budget-exhausted)" in started.server_log


def test_a_model_is_published_with_a_ground_that_verify_shows(tmp_path: Path, hospitals: Path) -> None:
    consortium = found_consortium(tmp_path / "sim", hospitals=hospitals, scenario=SCENARIO)
    folder, _ = simulate(consortium, observer=lambda _: None)
    publish = ("fed_server", "publish", folder.run, "--config", consortium.federation_file)
    out = ("--out", tmp_path / "published")

    groundless = run(*publish, *out)
    assert (groundless.returncode, "either an audit or a reason" in groundless.stderr) == (2, True)
    assert not (tmp_path / "published").exists()

    assert run(*publish, *out, "--without-audit", "a rehearsal").returncode == 0
    trust = ("--trust", tmp_path / "trust.json", "--task", consortium.root / "task.toml")
    root = run("fed_server", "trust", "--out", trust[1], "--config", consortium.federation_file)
    assert "2 of 3 sites must have co-signed" in root.stdout
    verified = run("fed_server", "verify", tmp_path / "published", *trust)
    assert (
        "without an audit: a rehearsal" in verified.stdout and "published: release 1 until" in verified.stdout
    )
    assert "a rehearsal" in folder.report.read_text()
    again = run("fed_server", "verify-run", folder.path, *trust)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (
        0,
        f"co-signed by {', '.join(consortium.sites)}",
    )
