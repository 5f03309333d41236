"""A published model is whole, signed and in its place, or it isn't there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, FIRST_P, MODEL, new_key
from tests.full_disk import disk_full_after
from tests.released_models import MODEL_BYTES, manifest_of

from fed_common.checkpoint import (
    FIRST,
    MANIFEST_FILE,
    MODEL_FILE,
    Checkpoint,
    latest,
    load,
    parameter_bytes,
    publish,
)
from fed_common.errors import MachineError, MalformedMessageError, TrustError
from fed_common.models import ModelSpec
from fed_common.names import Digest


def checkpoint(number: int = 1, *, model: bytes = MODEL_BYTES) -> Checkpoint:
    return Checkpoint(manifest=replace(manifest_of(model), round=number), parameters_P=FIRST_P)


def test_a_published_checkpoint_is_read_back(tmp_path: Path) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    loaded = load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS)
    assert loaded.manifest == checkpoint().manifest
    assert loaded.digest == checkpoint().digest
    assert np.array_equal(loaded.parameters_P, FIRST_P)


def test_another_signers_checkpoint_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, new_key())
    with pytest.raises(TrustError):
        load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_a_flipped_bit_in_either_file_is_refused(tmp_path: Path, name: str) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    raw = bytearray((tmp_path / "0001" / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "0001" / name).write_bytes(raw)
    with pytest.raises((TrustError, MalformedMessageError)):
        load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_half_a_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    (tmp_path / "0001" / name).unlink()
    with pytest.raises(TrustError, match="not a whole checkpoint"):
        load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS)


def test_a_signed_pickle_is_not_opened(tmp_path: Path) -> None:
    dangerous = b"\x80\x04cos\ngetcwd\n(tR."
    publish(tmp_path, checkpoint(model=dangerous), dangerous, COORDINATOR_KEY)
    with pytest.raises(MalformedMessageError, match="safetensors"):
        load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS)


def test_a_model_of_another_form_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    with pytest.raises(TrustError, match="a model of"):
        load(tmp_path / "0001", ModelSpec(channels=3, classes=2), COORDINATOR_SIGNS)


def test_the_latest_is_the_last_whole_one(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    for number in (9, 10):
        publish(tmp_path, checkpoint(number), MODEL_BYTES, COORDINATOR_KEY)
    (tmp_path / ".0011.partial").mkdir()
    (tmp_path / "0012").touch()
    assert latest(tmp_path) == tmp_path / "0010"


def test_a_full_disk_leaves_what_was_published(tmp_path: Path) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    with disk_full_after(1000), pytest.raises(MachineError):
        publish(tmp_path, checkpoint(2), MODEL_BYTES, COORDINATOR_KEY)
    assert latest(tmp_path) == tmp_path / "0001"
    publish(tmp_path, checkpoint(2), MODEL_BYTES, COORDINATOR_KEY)
    assert latest(tmp_path) == tmp_path / "0002"


def test_a_round_is_published_once(tmp_path: Path) -> None:
    publish(tmp_path, checkpoint(), MODEL_BYTES, COORDINATOR_KEY)
    other = checkpoint()
    other = replace(other, manifest=replace(other.manifest, previous=Digest("1" * 64)))
    with pytest.raises(MachineError):
        publish(tmp_path, other, MODEL_BYTES, COORDINATOR_KEY)
    assert load(tmp_path / "0001", MODEL, COORDINATOR_SIGNS).manifest.previous == FIRST


def test_what_was_hashed_can_not_be_changed_afterwards() -> None:
    parameters_P = np.array([1.0, -2.0], dtype=np.float32)
    copied = parameter_bytes(parameters_P)
    parameters_P[0] = 7.0
    assert copied == np.array([1.0, -2.0], dtype="<f4").tobytes()

    parameters_P.flags.writeable = False
    lent = parameter_bytes(parameters_P)
    assert isinstance(lent, memoryview) and lent.readonly and lent == parameters_P.tobytes()
    assert np.shares_memory(np.frombuffer(lent, dtype="<f4"), parameters_P)
