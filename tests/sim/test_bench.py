"""The benchmarks run, and judge by what they have measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fed_common.models import ModelSpec
from fed_sim.bench.aggregation import Row as AggregationRow
from fed_sim.bench.ingest import FORMATS, Row
from fed_sim.bench.masking import Row as MaskRow
from fed_sim.bench.step import CASES, TARGETS, Measured, Targets, measure
from fed_sim.bench.step_ways import OPACUS_WAYS, OURS, PLAIN, Case
from fed_sim.bench.wire import Row as WireRow
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
        assert (row["ratio"] is None) == (row["ratio_to_fastest"] is None) == (row["fastest"] == "")


@pytest.mark.parametrize(
    ("usual_ms", "target", "verdict"),
    [(7.9, 8, "missed"), (8.0, 8, "met"), (None, 8, ""), (1.0, None, "")],
)
def test_a_target_is_set_against_what_pydicom_takes_by_itself(
    usual_ms: float | None, target: float | None, verdict: str
) -> None:
    row = Row(
        format="JPEG-LS",
        usual_ms=usual_ms,
        fastest="pyjpegls",
        fastest_ms=0.5,
        ours_ms=1.0,
        with_text_ms=1.0,
        target=target,
        pool_per_s={},
    )
    assert (row.ratio, row.ratio_to_fastest, row.verdict) == (usual_ms, 0.5, verdict)


@pytest.mark.slow
def test_every_way_to_take_a_step_is_measured() -> None:
    case = Case(name="small", spec=ModelSpec(channels=1, classes=2), images=4, steps=1)

    first, second = measure(numbers_of_threads=(1, 2), repeats=1, cases=(case,))

    assert (first.threads, second.threads) == (1, 2)
    for measured in (first, second):
        assert {PLAIN, OURS, *OPACUS_WAYS} < measured.tuned_ms.keys() == measured.untuned_ms.keys()
        assert all(ms > 0 for ms in (*measured.tuned_ms.values(), *measured.untuned_ms.values()))
        assert measured.memory_mb.keys() == {PLAIN, OURS, "Opacus hooks"}


def test_steps_are_judged_by_plain_sgd_and_opacus_best_in_the_same_run() -> None:
    opacus_ms = dict(zip(OPACUS_WAYS, (300.0, 200.0, 400.0), strict=True))
    measured = Measured(
        case="made up",
        threads=1,
        images=1,
        untuned_ms={PLAIN: 60.0, OURS: 110.0} | {way: 3 * ms for way, ms in opacus_ms.items()},
        tuned_ms={PLAIN: 50.0, OURS: 100.0} | opacus_ms,
        memory_mb={PLAIN: 10.0, OURS: 16.0},
    )

    verdicts = list(measured.verdicts(Targets(plain=0.5, opacus=2.5, opacus_untuned=6.0)))

    assert [verdict.ratio for verdict in verdicts] == [0.5, 2.0, 6.0, 1.6]
    assert [verdict.met for verdict in verdicts] == [True, False, True, False]
    assert {case.name for case in CASES} == TARGETS.keys()


def test_masks_are_measured_with_and_without_drop_outs_and_the_sums_are_exact(tmp_path: Path) -> None:
    figures = tmp_path / "mask.json"
    command = ["bench", "mask", "--parameters", "100000", "--repeats", "1", "--json", str(figures)]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    rows = json.loads(figures.read_text(encoding="utf-8"))
    sessions = [(3, 0), (5, 0), (5, 1), (10, 0), (10, 3)]
    assert [(row["bits"], row["sites"], row["dropped"]) for row in rows] == [
        (bits, sites, dropped) for bits in (32, 64) for sites, dropped in sessions
    ]
    assert all(row["exact"] for row in rows)
    assert all(0.5 * row["bits"] / 32 <= row["bytes_ratio"] < 0.55 * row["bits"] / 32 for row in rows)


def test_masks_are_judged_by_exactness_time_and_bytes() -> None:
    kept = MaskRow(bits=32, sites=3, dropped=0, client_s=0.2, server_s=0.4, bytes_ratio=1.1, exact=True)
    assert kept.met
    for missed in ({"client_s": 0.21}, {"server_s": 0.41}, {"bytes_ratio": 1.11}, {"exact": False}):
        assert not replace(kept, **missed).met


def test_aggregation_is_measured_against_memory_and_flower(tmp_path: Path) -> None:
    figures = tmp_path / "aggregate.json"
    command = ["bench", "aggregate", "--parameters", "20000", "--repeats", "1", "--json", str(figures)]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    rows = json.loads(figures.read_text(encoding="utf-8"))
    assert [(row["rule"], row["sites"]) for row in rows] == [
        ("mean, streaming", 10),
        ("mean, streaming", 100),
        ("sum of held updates", 10),
        *((rule, sites) for sites in (10, 20) for rule in ("median", "trimmed mean")),
    ]
    ten, hundred, *_ = rows
    assert hundred["workspace_mb"] < 1.1 * ten["workspace_mb"]  # however many sites: one sum
    assert all((row["limit_ms"] is None) != (row["flower_ms"] is None) for row in rows[1:])


def test_aggregation_is_judged_by_its_limit_or_by_flower() -> None:
    row = AggregationRow(
        rule="mean", sites=10, ours_ms=15.0, limit_ms=10.0, flower_ms=None, workspace_mb=1.0, target=1.5
    )
    assert row.met and not replace(row, ours_ms=15.1).met
    faster = replace(row, limit_ms=None, flower_ms=150.0, target=10.0)
    assert faster.met and not replace(faster, flower_ms=149.0).met


def test_the_wire_is_measured_there_and_back(tmp_path: Path) -> None:
    figures = tmp_path / "wire.json"
    command = ["bench", "wire", "--parameters", "1000", "--repeats", "1", "--json", str(figures)]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    row = json.loads(figures.read_text(encoding="utf-8"))
    assert ran.exit_code == 0
    assert row["ours_ms"] == row["encode_ms"] + row["decode_ms"] > 0
    assert all(value > 0 for name, value in row.items() if name.endswith("_ms"))


def test_a_slow_wire_misses_its_target() -> None:
    fast = WireRow(
        megabytes=44.7,
        encode_ms=30.0,
        decode_ms=30.0,
        carried_send_ms=1.0,
        carried_receive_ms=1.0,
        flower_send_ms=113.0,
        flower_receive_ms=58.0,
        update_mb=89.4,
        update_encode_ms=1.0,
        update_decode_ms=1.0,
        short_update_mb=11.2,
        short_update_encode_ms=1.0,
        short_update_decode_ms=1.0,
    )
    assert fast.met
    assert not replace(fast, decode_ms=30.1).met
    assert not replace(fast, decode_ms=float("nan")).met
