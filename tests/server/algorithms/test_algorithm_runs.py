"""What an algorithm keeps from round to round survives crashes and is verified."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import COORDINATOR_SIGNS, FIRST_P, NUM_PARAMETERS
from tests.released_models import SITE_SIGNS
from tests.server.runs import SETTINGS, Crash, CrashAt, Run, new_run

from fed_common import checkpoint as checkpoints
from fed_common.checkpoint import MEMORY_FILE
from fed_common.errors import MalformedMessageError, TrustError
from fed_server.algorithms.adaptive import FedYogi
from fed_server.algorithms.fedavgm import FedAvgM
from fed_server.artefacts.verification import verify_run

YOGI = replace(
    SETTINGS,
    algorithm=FedYogi(name="fedyogi", learning_rate=0.01),
    training=SETTINGS.training.model_copy(update={"averaging": "late"}),
)
MOMENTUM = replace(SETTINGS, algorithm=FedAvgM(name="fedavgm", momentum=0.5, learning_rate=2.0))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def test_the_model_moves_by_the_optimizers_steps(run: Run) -> None:
    last = run.start(settings=MOMENTUM)

    # Each mean update is 0.001: v = 0.001, then 0.0015, each taken twice.
    np.testing.assert_allclose(last.parameters_P, FIRST_P + 2 * (0.001 + 0.0015), atol=1e-6)
    (velocity_P,) = checkpoints.load_memory(run.folder.checkpoint(2), last).values()
    np.testing.assert_allclose(velocity_P, np.full(NUM_PARAMETERS, 0.0015), rtol=1e-5)


def test_a_crash_at_any_event_changes_neither_plans_nor_model_nor_memory(tmp_path: Path) -> None:
    whole = new_run(tmp_path)
    count = CrashAt(0)
    expected = whole.start(observer=count, settings=YOGI)
    assert expected.manifest.memory is not None
    for number in range(1, count.seen + 1, 2):
        crashed = new_run(tmp_path / str(number))
        with pytest.raises(Crash):
            crashed.start(observer=CrashAt(number), settings=YOGI)
        assert crashed.start(settings=YOGI).digest == expected.digest  # which names the memory
        assert crashed.questions == whole.questions


def verify(run: Run) -> None:
    verify_run(run.folder, YOGI.model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def test_a_run_is_verified_with_what_was_kept(run: Run) -> None:
    run.start(settings=YOGI)
    verify(run)
    file = run.folder.checkpoint(1) / MEMORY_FILE
    whole = file.read_bytes()

    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        TrustError, match=r"round 1: memory\.safetensors: not the file that the manifest names"
    ):
        verify(run)
    file.unlink()
    with pytest.raises(TrustError, match="round 1: "):
        verify(run)


def test_a_memory_of_another_form_is_not_gone_on_from(run: Run) -> None:
    last = run.start(settings=MOMENTUM)
    longer = checkpoints.encode_memory({"velocity": np.zeros(NUM_PARAMETERS + 1, dtype=np.float32)})
    (run.folder.checkpoint(2) / MEMORY_FILE).write_bytes(longer or b"")
    with pytest.raises((TrustError, MalformedMessageError)):
        checkpoints.load_memory(run.folder.checkpoint(2), last)
