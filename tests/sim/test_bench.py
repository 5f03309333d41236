"""The benchmarks run, and judge by what they have measured."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fed_sim.bench.ingest import FORMATS, Row
from fed_sim.cli import app


@pytest.mark.slow
def test_ingest_is_measured_for_every_format(tmp_path: Path) -> None:
    figures = tmp_path / "ingest.json"
    command = ["bench", "ingest", "--side", "64", "--repeats", "1", "--files", "4", "--json", str(figures)]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    rows = json.loads(figures.read_text(encoding="utf-8"))
    assert ran.exit_code == 0
    assert [row["format"] for row in rows] == [kind.name for kind in FORMATS]
    for row in rows:
        assert row["ours_ms"] > 0 and set(row["pool_per_s"]) == {"1", "2"}
        assert (row["ratio"] is None) == (row["decoder"] == "")


@pytest.mark.parametrize(
    ("ratio", "target", "verdict"),
    [(7.9, 8, "missed"), (8.0, 8, "met"), (None, 8, ""), (1.0, None, "")],
)
def test_a_target_is_met_or_missed(ratio: float | None, target: float | None, verdict: str) -> None:
    row = Row(
        format="raw",
        decoder="numpy",
        usual_ms=1.0,
        ours_ms=1.0,
        with_text_ms=1.0,
        ratio=ratio,
        target=target,
        pool_per_s={},
    )
    assert row.verdict == verdict
