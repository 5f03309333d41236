"""A task with several labels and measured constants goes from DICOM files to a signed model and a report."""

import shutil
from pathlib import Path

from tests.end_to_end.processes import SCENARIO, run

from fed_common.proposal import StatisticsTable
from fed_sim.consortium import found_consortium
from fed_sim.simulation import simulate

MEASURING = SCENARIO.model_copy(update={"statistics": StatisticsTable()})


def with_several_labels(hospitals: Path, copy: Path) -> Path:
    """Return a copy whose images may show several classes, though each shows one."""
    shutil.copytree(hospitals, copy)
    task = copy / "task.toml"
    task.write_text(task.read_text().replace("\n\n[recipe]", "\nmulti_label = true\n\n[recipe]"))
    return copy


def test_several_labels_and_statistics_go_all_the_way(tmp_path: Path, hospitals: Path) -> None:
    several = with_several_labels(hospitals, tmp_path / "hospitals")
    consortium = found_consortium(tmp_path / "run", hospitals=several, scenario=MEASURING)

    folder, last = simulate(consortium, observer=lambda _: None)

    assert last.manifest.multi_label and last.manifest.test is not None
    assert len(last.manifest.test.class_accuracy) == 2
    assert last.manifest.round == 3
    report = folder.report.read_text()
    assert "How the sites differ" in report and "An image can show several classes." in report
    root = consortium.root
    verified = run(
        "fed_server", "verify", folder.path,
        "--key", root / "keys/server/identity.pub", "--task", root / "task.toml",
    )  # fmt: skip
    assert "output: several labels of normal, lesion; positive: lesion" in verified.stdout
    shown = run("fed_client", "ledger", "show", "--config", consortium.site_file(consortium.sites[0]))
    assert "statistics" in shown.stdout and "5 releases" in shown.stdout
