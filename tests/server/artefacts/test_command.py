"""What a coordinator and an auditor type about finished models."""

import time
from pathlib import Path

import pytest
from tests.fakes import COORDINATOR_SIGNS, EAST, NORTH, SITES, SOUTH, TASK
from tests.released_models import MANIFEST, ROOT, YEAR_S, release_of, sealed_release, write_released
from tests.server.federation_files import TASK_TOML, run, write_federation

from fed_common import canonical
from fed_common.artefacts.root import ModelRoot
from fed_common.errors import ConfigError, TrustError
from fed_common.task import load_task

EXPIRES = int(time.time()) + YEAR_S  # by the clock that the commands go by


def valid_release(*, number: int = 1) -> bytes:
    return sealed_release(release_of(number=number, expires=EXPIRES))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "task.toml").write_text(TASK_TOML)
    assert load_task(tmp_path / "task.toml").digest == TASK.digest
    (tmp_path / "trust.json").write_bytes(canonical.encode(ROOT) + b"\n")
    (tmp_path / "identity.pub").write_bytes(COORDINATOR_SIGNS.pem)
    write_released(tmp_path / "published", release=valid_release())
    return tmp_path


def test_a_root_of_trust_names_the_enrolled_sites(tmp_path: Path) -> None:
    config, out = write_federation(tmp_path), tmp_path / "trust.json"
    told = run("trust", "--out", out, "--config", config)
    root = ModelRoot.load(out)
    assert "2 of 3 sites must" in told and root.digest[:32] in told
    assert (set(root.site_keys), root.threshold, root.federation) == (set(SITES), 2, "play")
    run("revoke", EAST, "--reason", "its key was stolen", "--config", config)
    run("trust", "--out", out, "--config", config)
    assert set(ModelRoot.load(out).site_keys) == {NORTH, SOUTH}
    with pytest.raises(ConfigError, match="threshold must be"):
        run("trust", "--out", out, "--config", config, "--threshold", "4")


def test_a_published_model_is_verified_and_remembered(files: Path) -> None:
    words = (
        "verify", files / "published", "--trust", files / "trust.json", "--task", files / "task.toml",
        "--memory", files / "accepted.json",
    )  # fmt: skip
    told = run(*words)
    assert f"published: release 1 until {time.strftime('%Y-%m-%d', time.gmtime(EXPIRES))}" in told
    assert f"signed: run {MANIFEST.run}, round 9 of 9" in told
    write_released(files / "published", release=valid_release(number=2))
    run(*words)
    write_released(files / "published", release=valid_release())
    with pytest.raises(TrustError, match="release 1 is older than 2"):
        run(*words)


def test_only_a_finished_run_is_co_signed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="play-1 is not finished"):
        run("cosign", "play-1", "--config", write_federation(tmp_path))


def test_a_key_alone_says_what_it_does_not_look_at(files: Path) -> None:
    task = ("--task", files / "task.toml")
    write_released(files / "published", release=sealed_release(release_of(expires=1)))
    told = run("verify", files / "published", "--key", files / "identity.pub", *task)
    assert "by the coordinator's word alone" in told
    with pytest.raises(ConfigError, match="either --trust"):
        run("verify", files / "published", *task)
    with pytest.raises(ConfigError, match="goes with --trust"):
        run("verify", files / "published", "--key", files / "identity.pub", "--memory", files / "m", *task)
