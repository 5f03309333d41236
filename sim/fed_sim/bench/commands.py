"""`fed-sim bench`: each command prints a table, and JSON for machines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fed_common.errors import MachineError
from fed_sim.bench.aggregation import Row as AggregationRow
from fed_sim.bench.aggregation import measure as measure_aggregation
from fed_sim.bench.cache import (
    BATCH,
    GATHER_TARGET,
    Encryption,
    Gather,
    Registration,
    measure_encryption,
    measure_gather,
    measure_registration,
)
from fed_sim.bench.ingest import Row, measure
from fed_sim.bench.masking import BYTES_TARGET, CLIENT_TARGET_S, SERVER_TARGET_S
from fed_sim.bench.masking import Row as MaskRow
from fed_sim.bench.masking import measure as measure_masks
from fed_sim.bench.simulate.command import simulate
from fed_sim.bench.step import TARGETS, Measured
from fed_sim.bench.step import measure as measure_steps
from fed_sim.bench.utility_runs import run_benchmarks
from fed_sim.bench.utility_table import Result, Results, lines
from fed_sim.bench.wire import TARGET_MS as WIRE_TARGET_MS
from fed_sim.bench.wire import Row as WireRow
from fed_sim.bench.wire import measure as measure_wire

app = typer.Typer(
    help="Measure speed on this machine, as ratios within one run; or what privacy costs in accuracy.",
    no_args_is_help=True,
)

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures there, as JSON.")]


app.command()(simulate)


@app.callback()
def bench() -> None:
    """Measure speed on this machine, as ratios within one run."""


@app.command()
def ingest(
    side: Annotated[int, typer.Option(min=64, max=8192, help="Rows and columns of the pictures.")] = 2048,
    repeats: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 15,
    files: Annotated[int, typer.Option(min=1, help="Files that the reading processes share.")] = 40,
    json_file: JsonOption = None,
) -> None:
    """Read DICOM files of each compression to 224x224, against pydicom with torch."""
    rows = list(measure(side=side, repeats=repeats, pool_files=files))
    Console().print(_ingest_table(rows, side))
    if json_file is not None:
        write_json(json_file, [_ingest_figures(row) for row in rows])


@app.command()
def cache(
    images: Annotated[int, typer.Option(min=100, help="How many pictures are registered.")] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 15,
    json_file: JsonOption = None,
) -> None:
    """Gather batches against a plain memory map; write, open and register an encrypted data set."""
    # First, because the peak of the memory is that of the whole process.
    registration = measure_registration(images=images, patients=max(1, images // 2))
    gathers = [measure_gather(size=size, images=4000, repeats=repeats) for size in (32, 224)]
    encryption = measure_encryption(num_bytes=1 << 28, repeats=repeats)
    Console().print(_cache_table(gathers, encryption, registration))
    if json_file is not None:
        found = {"gather": [asdict(gather) | {"ratio": gather.ratio} for gather in gathers]}
        write_json(
            json_file, found | {"encryption": asdict(encryption), "registration": asdict(registration)}
        )


@app.command()
def mask(
    parameters: Annotated[int, typer.Option(min=1, help="Parameters of the model.")] = 11_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each session is held.")] = 3,
    json_file: JsonOption = None,
) -> None:
    """Sum updates of 3, 5 and 10 sites under masks, with no and with as many drop-outs as can be."""
    rows = list(measure_masks(parameters=parameters, repeats=repeats))
    Console().print(_mask_table(rows, parameters))
    if json_file is not None:
        write_json(json_file, [asdict(row) | {"met": row.met} for row in rows])


@app.command()
def aggregate(
    parameters: Annotated[int, typer.Option(min=100, help="Parameters of the model.")] = 11_170_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 5,
    json_file: JsonOption = None,
) -> None:
    """Fold 10 and 100 updates into a mean, 10 and 20 into a median, against memory and Flower's rules."""
    rows = list(measure_aggregation(parameters=parameters, repeats=repeats))
    Console().print(_aggregation_table(rows, parameters))
    if json_file is not None:
        write_json(json_file, [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows])


@app.command()
def wire(
    parameters: Annotated[int, typer.Option(min=100, help="Parameters of the model.")] = 11_170_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 9,
    json_file: JsonOption = None,
) -> None:
    """Bring a model to a site and an update back, but for the line, against Flower's own messages."""
    row = measure_wire(parameters=parameters, repeats=repeats)
    Console().print(_wire_table(row))
    if json_file is not None:
        write_json(json_file, asdict(row) | {"ours_ms": row.ours_ms, "met": row.met})


@app.command()
def step(
    threads: Annotated[
        list[int],
        typer.Option(min=1, help="Threads for every way; may be repeated. A hospital's daemon has 1."),
    ] = [1, 2],  # noqa: B006
    repeats: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 7,
    json_file: JsonOption = None,
) -> None:
    """Take private training steps, against plain SGD, Opacus and torch.func."""
    found = []
    for measured in measure_steps(numbers_of_threads=threads, repeats=repeats):
        Console().print(_step_table(measured))
        verdicts = [
            asdict(verdict) | {"met": verdict.met} for verdict in measured.verdicts(TARGETS[measured.case])
        ]
        found.append(asdict(measured) | {"verdicts": verdicts})
    if json_file is not None:
        write_json(json_file, found)


@app.command()
def utility(
    data: Annotated[Path, typer.Option(help="The folder of the public collections.")],
    json_file: Annotated[Path, typer.Option("--json", help="Results so far; called again, it goes on.")],
    sites: Annotated[list[int], typer.Option(min=1, help="How many hospitals; may be repeated.")] = [3, 10],  # noqa: B006
    runs: Annotated[
        int, typer.Option(min=1, help="How often patients are dealt out and noise is drawn.")
    ] = 3,
) -> None:
    """Train together, alone and pooled at epsilon infinity, 8, 3 and 1; judge on public test images."""
    results = Results(json_file)

    def told(row: Result) -> None:
        Console().print(
            f"{row.collection}, {row.sites} hospitals, run {row.run}, {row.arm} {row.hospital} "
            f"epsilon {row.epsilon:g}: AUC {row.auc:.3f}, accuracy {row.accuracy:.3f}"
        )

    run_benchmarks(results, data=data, sites=sites, runs=runs, told=told)
    for line in lines(results.rows):
        typer.echo(line)


def write_json(path: Path, figures: object) -> None:
    """Write figures to a file.

    Raises:
        MachineError: it can't be written.
    """
    try:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def _mask_table(rows: list[MaskRow], parameters: int) -> Table:
    table = Table(title=f"Masked sums of {parameters:,} parameters: seconds on one core in a round")
    targets = f"<= {CLIENT_TARGET_S:g}", f"<= {SERVER_TARGET_S:g}", f"<= {BYTES_TARGET:g}x"
    for heading in ("bits", "sites", "dropped", "a site", "coordinator", "bytes", "sum", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            *(str(count) for count in (row.bits, row.sites, row.dropped)),
            f"{row.client_s:.3f}",
            f"{row.server_s:.3f}",
            f"{row.bytes_ratio:.3f}x",
            "exact" if row.exact else "wrong",
            "met" if row.met else "missed",
        )
    table.add_section()
    table.add_row("", "", "target", *targets, "exact", "")
    return table


def _aggregation_table(rows: list[AggregationRow], parameters: int) -> Table:
    table = Table(
        title=f"{parameters:,} parameters on one core: ms of a round, and MB allocated in it",
        caption="limit: the memory's; the ratio is to it, or where there is none, to Flower",
        box=None,
        padding=(0, 1),
        pad_edge=False,
    )
    for heading in ("", "sites", "ours", "limit", "Flower", "MB", "ratio", "target", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in rows:
        bound = "<=" if row.limit_ms is not None else ">="
        table.add_row(
            row.rule,
            str(row.sites),
            f"{row.ours_ms:.0f}",
            _figure(row.limit_ms, ""),
            _figure(row.flower_ms, ""),
            f"{row.workspace_mb:.0f}",
            f"{row.ratio:.2f}x",
            f"{bound} {row.target:g}x",
            "met" if row.met else "missed",
        )
    return table


def _wire_table(row: WireRow) -> Table:
    table = Table(
        title=f"{row.megabytes:.1f} MB of float32 on one core: ms",
        caption=f"a model, sent and received: {row.ours_ms:.1f} ms, <= {WIRE_TARGET_MS:g} ms "
        + ("met" if row.met else "missed"),
    )
    for heading in ("", "MB", "send", "receive"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, megabytes, send_ms, receive_ms in (
        ("a model: encoded, hashed, signed; checked, decoded", row.megabytes, row.encode_ms, row.decode_ms),
        ("the same by Flower, of its own arrays", row.megabytes, row.flower_send_ms, row.flower_receive_ms),
        ("what Flower takes to carry ours", row.megabytes, row.carried_send_ms, row.carried_receive_ms),
        (
            "an update: in 64-bit fixed point; screened",
            row.update_mb,
            row.update_encode_ms,
            row.update_decode_ms,
        ),
        ("the same in 8 bits", row.short_update_mb, row.short_update_encode_ms, row.short_update_decode_ms),
    ):
        table.add_row(name, f"{megabytes:.1f}", f"{send_ms:.1f}", f"{receive_ms:.1f}")
    return table


def _step_table(measured: Measured) -> Table:
    table = Table(title=f"{measured.case}, threads: {measured.threads}; images per second")
    for heading in ("", "malloc as it is", "malloc tuned", "MB at most"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for way, tuned_ms in measured.tuned_ms.items():
        memory_mb = measured.memory_mb.get(way)
        table.add_row(
            way,
            *(f"{1000 * measured.images / ms:.0f}" for ms in (measured.untuned_ms[way], tuned_ms)),
            "" if memory_mb is None else f"{memory_mb:.0f}",
        )
    table.add_section()
    for verdict in measured.verdicts(TARGETS[measured.case]):
        target = f">= {verdict.at_least:g}x" if verdict.at_least else f"<= {verdict.at_most:g}x"
        table.add_row(verdict.promise, target, f"{verdict.ratio:.2f}x", "met" if verdict.met else "missed")
    return table


def _cache_table(gathers: list[Gather], encryption: Encryption, registration: Registration) -> Table:
    table = Table(title="An encrypted data set", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for gather in gathers:
        verdict = "met" if gather.ratio <= GATHER_TARGET else "missed"
        table.add_row(
            f"gather {BATCH} of {gather.size} x {gather.size}, us per image: plain, ours (target "
            f"{GATHER_TARGET:g}x)",
            f"{gather.plain_us:.1f}, {gather.ours_us:.1f}: {gather.ratio:.2f}x, {verdict}",
        )
    for way, rate in asdict(encryption).items():
        table.add_row(f"{way.replace('_', ', ')}, GB/s", f"{rate:.2f}")
    for way in ("register", "again", "reopen"):
        seconds = getattr(registration, f"{way}_s")
        table.add_row(f"{way}, {registration.images} pictures, s", f"{seconds:.2f}")
    table.add_row(
        "memory before, peak while registering, MB",
        f"{registration.memory_before_mb:.0f}, {registration.peak_memory_mb:.0f}",
    )
    return table


def _ingest_table(rows: list[Row], side: int) -> Table:
    named = ", ".join(f"{row.format} {row.fastest}" for row in rows if row.fastest)
    table = Table(
        title=f"{side} x {side}, 16 bits, to 224 x 224: ms per image on one core",
        caption=f"usual: the decoder that pydicom takes; best: {named}",
        box=None,
        padding=(0, 1),
        pad_edge=False,
    )
    for heading in ("", "usual", "best", "ours", "+text", "faster", "target", "best", "/s by 1, 2"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row.format,
            _figure(row.usual_ms, ""),
            _figure(row.fastest_ms, ""),
            _figure(row.ours_ms, ""),
            _figure(row.with_text_ms, ""),
            _figure(row.ratio, "x"),
            f"{row.target:g}x {row.verdict}" if row.target else "",
            _figure(row.ratio_to_fastest, "x"),
            f"{row.pool_per_s[1]:.0f}, {row.pool_per_s[2]:.0f}",
        )
    return table


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.{0 if value >= 100 else 1}f}{unit}"


def _ingest_figures(row: Row) -> dict[str, object]:
    derived = {"ratio": row.ratio, "ratio_to_fastest": row.ratio_to_fastest, "verdict": row.verdict}
    return asdict(row) | derived
