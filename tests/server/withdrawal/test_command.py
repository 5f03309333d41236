"""What a coordinator types when a site leaves, and what anybody types who gets the certificate."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import NORTH, SITES
from tests.released_models import MANIFEST
from tests.server.federation_files import run, write_federation

from fed_common.checkpoint import MANIFEST_FILE, sign_manifest
from fed_common.errors import ConfigError, FedError
from fed_common.signing import SigningKey
from fed_server.config import load_trust_files


def test_a_site_leaves_with_a_certificate(tmp_path: Path) -> None:
    config, out = write_federation(tmp_path), tmp_path / "north.withdrawal"
    words = ("withdraw", NORTH, "--reason", "it moved", "--out", out, "--config", config)
    told = run(*words)
    assert "north has left" in told and "no model is made of it" in told
    assert f"take north out of [[sites]] in {config}" in told
    registry = load_trust_files(config).open_registry()
    assert {site: registry.standing(site).state for site in SITES}[NORTH] == "withdrawn"
    assert "withdrawn" in run("sites", "--config", config)

    key = ("--key", tmp_path / "keys/server/identity.pub")
    assert "signed: north left play: it moved" in run("check-withdrawal", out, *key)
    with pytest.raises(ConfigError, match="is there already"):
        run(*words)
    out.write_bytes(out.read_bytes().replace(b"it moved", b"it stays"))
    with pytest.raises(FedError):
        run("check-withdrawal", out, *key)


def test_a_model_of_a_site_that_left_is_let_go_no_more(tmp_path: Path) -> None:
    config = write_federation(tmp_path)
    key = SigningKey.load(tmp_path / "keys/server/identity.key")
    (tmp_path / "runs/play-1").mkdir(parents=True)
    (tmp_path / "runs/play-1" / MANIFEST_FILE).write_bytes(sign_manifest(MANIFEST, key).encode())
    checkpoint = replace(MANIFEST, trained=tuple(t for t in MANIFEST.trained if t.site != NORTH))
    later = replace(MANIFEST, trained=tuple(replace(t, first=5, rounds=5) for t in MANIFEST.trained))
    for number, manifest in ((4, checkpoint), (9, later)):
        folder = tmp_path / f"runs/play-1/checkpoints/{number:04d}"
        folder.mkdir(parents=True)
        (folder / MANIFEST_FILE).write_bytes(sign_manifest(manifest, key).encode())
    told = run("withdraw", NORTH, "--reason", "it moved", "--out", tmp_path / "out", "--config", config)
    assert "play-1 is made of it in 5 rounds, 5 to 9; never released" in told
    begin = tmp_path / "runs/play-1/checkpoints/0004"
    assert f"fed-server start --new-run --config {config} --from {begin}" in told
    words = ("publish", "play-1", "--without-audit", "a rehearsal", "--out", tmp_path / "published")
    with pytest.raises(ConfigError, match="made of north, too, which withdrew"):
        run(*words, "--config", config)
    assert not (tmp_path / "published").exists()


def test_a_start_from_a_checkpoint_is_a_new_run(tmp_path: Path) -> None:
    config = write_federation(tmp_path)
    with pytest.raises(ConfigError, match="goes with --new-run"):
        run("start", "--config", config, "--from", tmp_path)
    run("withdraw", NORTH, "--reason", "it moved", "--out", tmp_path / "out", "--config", config)
    with pytest.raises(ConfigError, match="north withdrew: take it out of"):
        run("start", "--config", config, "--new-run")
    assert not list((tmp_path / "runs").glob("play-*"))
