"""The main job as a newcomer runs it: on phantoms, and on real X-rays where they are at hand."""

from pathlib import Path

import pytest
from tests.end_to_end.processes import command, json_lines, running
from tests.ports import free_port

from fed_common.artefacts.envelope import Envelope
from fed_common.artefacts.model_release import RELEASE_FILE, ModelRelease
from fed_common.artefacts.statement import decode_statement
from fed_common.reference import References, load_references
from fed_common.signing import VerifyingKey
from fed_common.task import load_task
from fed_server.journal import RoundPublished, RunEvent, SiteAnswered
from fed_server.run_folder import RunFolder
from fed_sim.consortium import REFERENCES_FILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
real_images = pytest.mark.skipif(not SHARED.is_dir(), reason="no real images in ../shared/data")


def demo(folder: Path, *arguments: str | Path) -> tuple[tuple[RunEvent, ...], References]:
    """Run `fed-sim demo` in `folder` to its end and return what it wrote."""
    out, log = folder / "demo with a space", folder / "demo.log"
    words = command("fed_sim", "demo", "--json", "--out", out, "--port", str(free_port()), *arguments)
    with running(words, log) as process:
        assert process.wait() == 0, log.read_text()
    assert json_lines(log.read_text())[-1]["event"] == "RunFinished"
    run = RunFolder.current(out / "runs")
    assert run is not None and run.report.exists()
    key = VerifyingKey.load(out / "keys/server/identity.pub")
    envelope = Envelope.read((out / "published" / RELEASE_FILE).read_bytes())
    envelope.refuse_unsigned(key)
    _, released = decode_statement(envelope.statement, ModelRelease)
    assert released.ground.audit is not None and not released.ground.audit.failed
    references = load_references(out / REFERENCES_FILE, task=load_task(out / "task.toml").digest)
    return run.journal.read(), references


def imported(folder: Path, *arguments: str | Path) -> Path:
    hospitals = folder / "hospitals"
    with running(
        command("fed_sim", "import", *arguments, "--out", hospitals), folder / "import.log"
    ) as process:
        assert process.wait() == 0, (folder / "import.log").read_text()
    return hospitals


def final_auc(events: tuple[RunEvent, ...]) -> float:
    published = [event for event in events if isinstance(event, RoundPublished)]
    assert published[-1].test is not None
    return published[-1].test.auc.value


def largest_epsilon(events: tuple[RunEvent, ...]) -> float:
    return max(event.privacy.epsilon for event in events if isinstance(event, SiteAnswered))


def test_learning_together_privately_beats_learning_alone_unprotected(tmp_path: Path) -> None:
    events, references = demo(tmp_path)
    (pooled,) = references.of_kind("pooled")
    alone = [model.figures.auc.value for model in references.of_kind("local")]
    assert pooled.figures.auc.value > final_auc(events) > sum(alone) / len(alone)
    assert largest_epsilon(events) <= 8


@real_images
def test_three_hospitals_learn_pneumonia_at_epsilon_8(tmp_path: Path) -> None:
    hospitals = imported(tmp_path, SHARED / "pneumoniamnist/pneumoniamnist.npz")
    events, _ = demo(tmp_path, "--hospitals", hospitals, "--scenario", "pneumonia")
    assert final_auc(events) > 0.9
    assert largest_epsilon(events) <= 8


@real_images
def test_the_nih_x_rays_run_with_their_real_patients(tmp_path: Path) -> None:
    folder = SHARED / "nih_cxr1000"
    hospitals = imported(tmp_path, folder / "images.npz", "--index", folder / "index.csv")
    events, _ = demo(tmp_path, "--hospitals", hospitals, "--scenario", "nih")
    # 70 patients a hospital teach nothing reliable at this epsilon; what counts is that it holds.
    assert largest_epsilon(events) <= 8
