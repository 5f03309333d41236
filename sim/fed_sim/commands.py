"""`fed-sim phantoms|import|example|test-set|baseline|run|demo`: hospitals, references, a federation."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fed_client.dataset.public import load_public_test
from fed_common.config import checked
from fed_common.reference import References, save_references
from fed_common.task import load_task
from fed_common.test_set import save_test_set
from fed_server.console import ConsoleObserver, JsonObserver
from fed_sim import demo as demos
from fed_sim.baseline import BaselineTerms, draw_curves
from fed_sim.consortium import REFERENCES_FILE, TEST_SET_FILE, Consortium, found_consortium
from fed_sim.data_table import DataTable
from fed_sim.example_table import write_example
from fed_sim.hospitals import FederationSummary
from fed_sim.making import make_hospitals
from fed_sim.partition import Spread
from fed_sim.partition.picture import save_partition
from fed_sim.partition.table import Kind, partition_of
from fed_sim.phantoms import write_phantoms
from fed_sim.references import train_references
from fed_sim.scenario import Scenario, named_scenario
from fed_sim.simulation import simulate

OutOption = Annotated[Path, typer.Option(help="A new folder for what is made.")]
SitesOption = Annotated[int, typer.Option(help="How many hospitals.", min=1)]
SeedOption = Annotated[int, typer.Option(help="Equal seeds make equal hospitals; it never touches privacy.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print events as JSON lines, for machines.")]
HospitalsOption = Annotated[
    Path, typer.Option(help="A folder made by `fed-sim phantoms` or `fed-sim import`.")
]


class OptimizerKind(StrEnum):
    """How the unprotected references are trained."""

    ADAM = "adam"
    SGD = "sgd"


def phantoms(
    out: OutOption,
    sites: SitesOption = 3,
    seed: SeedOption = 1,
    patients: Annotated[
        list[int] | None, typer.Option(help="A hospital's number of patients; repeat it for each.")
    ] = None,
    test_patients: Annotated[int, typer.Option(help="Patients of the public test set.", min=1)] = 600,
) -> None:
    """Write hospitals of drawn chests, some with a lesion, as folders of DICOM files with labels."""
    summary = write_phantoms(
        out, sites=sites, seed=seed, patients=patients or (), test_patients=test_patients
    )
    _tell(out, summary)


def import_images(
    source: Annotated[
        Path,
        typer.Argument(
            help="A MedMNIST .npz; with --index, an .npz with `images` or a folder; with --columns, a table."
        ),
    ],
    out: OutOption,
    index: Annotated[
        Path | None,
        typer.Option(help="The CSV file whose row k describes image k; with a folder, it names files."),
    ] = None,
    columns: Annotated[
        Path | None, typer.Option(help="With a table: which columns are learnt from, and their constants.")
    ] = None,
    label: Annotated[str, typer.Option(help="The index's label column.")] = "label",
    patient: Annotated[str, typer.Option(help="The index's patient column.")] = "patient",
    sites: SitesOption = 3,
    partition: Annotated[
        Kind, typer.Option(help="What makes hospitals differ: nothing, the source's own sites, or a skew.")
    ] = "patient",
    skew: Annotated[
        float | None,
        typer.Option(
            help="label: Dirichlet alpha (usually 0.5); size: largest/smallest (4); missing-classes: how "
            "many classes a hospital sees (1); scanner: how far the last is (1); concept: the share of "
            "positives that the last calls negative (0.5)."
        ),
    ] = None,
    site: Annotated[
        str, typer.Option(help="With --partition natural: the index's column of sites.")
    ] = "site",
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="With a folder: deal out these classes only; the second is positive."),
    ] = None,
    colour: Annotated[bool, typer.Option("--colour", help="With a folder: learn from colours.")] = False,
    test_fraction: Annotated[float, typer.Option(help="With --index: patients held out for testing.")] = 0.2,
    test_split: Annotated[
        str, typer.Option(help="With --index: the rows of this split are the test; what looks like one goes.")
    ] = "",
    seed: SeedOption = 1,
) -> None:
    """Turn a public image collection into hospitals of DICOM files; no patient is in two of them."""
    options = {
        "source": source,
        "index": index,
        "columns": columns,
        "label": label,
        "patient": patient,
        "classes": classes or (),
        "colour": colour,
        "test_fraction": test_fraction,
        "test_split": test_split,
    }
    data = checked(options, DataTable, source="fed-sim import")
    spread = Spread(sites=sites, partition=partition_of(partition, skew=skew, column=site), seed=seed)
    summary = make_hospitals(data, out, collections=Path(), spread=spread)
    _tell(out, summary)


def example_table(out: OutOption) -> None:
    """Write a table to try `import --columns` with: scikit-learn's breast-cancer set."""
    table, columns = write_example(out)
    typer.echo(f"{table}\n{columns}")


def test_set(
    folder: Annotated[Path, typer.Argument(help="Public images in images/, their labels in labels.csv.")],
    task: Annotated[Path, typer.Option(help="The consortium's task file.")] = Path("task.toml"),
    out: Annotated[Path, typer.Option(help="For the coordinator's `test_set`.")] = Path(TEST_SET_FILE),
) -> None:
    """Turn public DICOM images into the coordinator's test set; it opens no DICOM file itself."""
    learnt = load_task(task)
    images = load_public_test(folder, learnt)
    save_test_set(out, images, learnt)
    typer.echo(f"{out}: {len(images.labels_N)} images of {images.num_patients} patients")


def baseline(
    hospitals: HospitalsOption,
    out: Annotated[Path, typer.Option(help="A folder for the picture and the figures.")] = Path("baseline"),
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    optimizer: OptimizerKind = OptimizerKind.ADAM,
    learning_rate: Annotated[float, typer.Option(help="Of Adam or SGD.")] = 1e-3,
    local: Annotated[bool, typer.Option(help="Also train each hospital alone.")] = True,
    seed: SeedOption = 0,
) -> None:
    """Train the unprotected references: all images pooled on one machine, and each hospital alone."""
    terms = BaselineTerms(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer.value,
        learning_rate=learning_rate,
        seed=seed,
    )
    found = train_references(hospitals, terms=terms, local=local)
    out.mkdir(parents=True, exist_ok=True)
    draw_curves(found.pooled, out / "baseline.png")
    save_references(out / REFERENCES_FILE, found.references)
    _tell_references(found.references)
    typer.echo(f"curves: {out / 'baseline.png'}; figures: {out / REFERENCES_FILE}")


def run(
    scenario: Annotated[Path, typer.Argument(help="scenario.toml, or the name of one in the gallery.")],
    hospitals: HospitalsOption,
    out: OutOption = Path("simulation"),
    json: JsonOption = False,
) -> None:
    """Run a whole federation in one process; called again, it goes on where it was interrupted."""
    terms = named_scenario(scenario)
    consortium = Consortium.at(out) if out.exists() else _found(out, hospitals, terms)
    with JsonObserver() if json else ConsoleObserver() as observer:
        folder, _ = simulate(consortium, observer=observer, faults=terms.faults)
    if not json:
        typer.echo(f"report: {folder.report}")


def demo(
    out: OutOption = Path("demo"),
    hospitals: Annotated[
        Path | None, typer.Option(help="Hospitals made before; phantoms are drawn where none are named.")
    ] = None,
    scenario: Annotated[Path, typer.Option(help="scenario.toml, or the name of one in the gallery.")] = Path(
        "phantoms"
    ),
    port: Annotated[
        int, typer.Option(help="Where the coordinator listens, on 127.0.0.1.", min=1, max=65535)
    ] = 8443,
    prepare_only: Annotated[
        bool,
        typer.Option("--prepare-only", help="Write all files and print the commands, but start nothing."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run the main job: a coordinator and hospital daemons, separate processes, TLS, private training.

    An earlier demo in the same folder is deleted. Ends with an audit, a signed model and a report.
    """
    terms = named_scenario(scenario)
    demos.refuse_taken_port(port)
    demos.fresh_folder(out)
    if hospitals is None:
        hospitals = out / "hospitals"
        _tell(hospitals, write_phantoms(hospitals, sites=3, seed=1))
    found = train_references(hospitals, terms=BaselineTerms(), local=True)
    draw_curves(found.pooled, out / "baseline.png")
    save_references(out / REFERENCES_FILE, found.references)
    _tell_references(found.references)
    consortium = found_consortium(out, hospitals=hospitals, scenario=terms, port=port, references=True)
    if prepare_only:
        _tell_commands(consortium)
        return
    exit_code = demos.run_service(consortium, json=json) or demos.publish_audited(consortium, json=json)
    if exit_code != 0:
        raise typer.Exit(exit_code)


def _found(out: Path, hospitals: Path, scenario: Scenario) -> Consortium:
    return found_consortium(out, hospitals=hospitals, scenario=scenario)


def _tell(out: Path, summary: FederationSummary) -> None:
    for site in (*summary.sites, *([summary.public_test] if summary.public_test.num_images else [])):
        typer.echo(
            f"{out / site.name}: {site.num_patients} patients, {site.num_images} {site.modality} images, "
            f"{site.prevalence:.0%} positive"
        )
    save_partition(summary, out / "partition.png")


def _tell_references(references: References) -> None:
    for model in references.models:
        figures = model.figures
        typer.echo(
            f"{model.label}: test loss {figures.loss:.3f}, accuracy {figures.accuracy:.3f}, "
            f"AUC {figures.auc.value:.3f} [{figures.auc.low:.3f}, {figures.auc.high:.3f}]"
        )


def _tell_commands(consortium: Consortium) -> None:
    typer.echo("Start each of these in a terminal of its own:")
    typer.echo(f"  fed-server start --config {shlex.quote(str(consortium.federation_file))}")
    for site in consortium.sites:
        typer.echo(f"  fed-client start --config {shlex.quote(str(consortium.site_file(site)))}")
