"""Attacks on a released model: whatever is sold as the consortium's is refused in one line, or is it.

Each attack succeeds on who simply loads the file (`plainly`), as most programs do.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save
from tests.fakes import EAST, FIRST_P, MODEL, NORTH, SOUTH, TASK, new_key
from tests.released_models import (
    MODEL_BYTES,
    NOW,
    ROOT,
    cosigned,
    manifest_of,
    release_of,
    sealed_release,
    write_released,
)

from fed_common.artefacts.envelope import Envelope
from fed_common.artefacts.model_release import RELEASE_FILE
from fed_common.artefacts.opening import open_released
from fed_common.artefacts.tensors import parameters_of
from fed_common.artefacts.trusted_model_set import TrustedModelSet
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE, encode_model, parameter_bytes
from fed_common.errors import FedError, MalformedMessageError, TrustError
from fed_common.layout import layout_of
from fed_common.models import build_model
from fed_common.names import body_digest, digest_of

LAYOUT = layout_of(build_model(MODEL))
BACKDOOR_P = FIRST_P + np.float32(0.25)
BACKDOOR = encode_model(BACKDOOR_P, MODEL)
BACKDOOR_MANIFEST = replace(manifest_of(BACKDOOR), parameters=body_digest(parameter_bytes(BACKDOOR_P)))


@dataclass(frozen=True, kw_only=True)
class Attack:
    """The files that an attacker hands over, and the one line that they get."""

    model: bytes = BACKDOOR
    manifest: bytes | None = None
    release: bytes | None = None
    reason: str


NAN = save({name: np.full_like(value, np.nan) for name, value in load(MODEL_BYTES).items()})
FORGED_RELEASE = sealed_release(release_of(BACKDOOR_MANIFEST), file=BACKDOOR_MANIFEST.file)
ATTACKS = {
    "another model under the right papers": Attack(reason="not the file that the manifest names"),
    "signed by a coordinator of one's own": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, key=new_key()),
        release=sealed_release(release_of(BACKDOOR_MANIFEST), file=BACKDOOR_MANIFEST.file, key=new_key()),
        reason="not signed by key",
    ),
    "the coordinator alone, with no site": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, sites=()),
        release=FORGED_RELEASE,
        reason="0 sites signed the model, 2 must",
    ),
    "too few sites": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, sites=[NORTH]),
        release=FORGED_RELEASE,
        reason="1 sites signed the model, 2 must",
    ),
    "one site and a foreign one": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, sites=[NORTH], strangers=[new_key()]),
        release=FORGED_RELEASE,
        reason="1 sites signed the model, 2 must",
    ),
    "one site twice": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, sites=[NORTH, NORTH]),
        release=FORGED_RELEASE,
        reason="1 sites signed the model, 2 must",
    ),
    "signatures of another model": Attack(
        manifest=replace(
            Envelope.read(cosigned(BACKDOOR_MANIFEST, sites=())),
            signatures=Envelope.read(cosigned()).signatures,
        ).encode(),
        release=FORGED_RELEASE,
        reason="doesn't fit key",
    ),
    "a co-signed model that was never released": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST), reason="not the manifest that the release names"
    ),
    "co-signatures of another day": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST, sites=[EAST, SOUTH]),
        release=FORGED_RELEASE,
        reason="not the manifest that the release names",
    ),
    "expired": Attack(
        manifest=cosigned(BACKDOOR_MANIFEST),
        release=sealed_release(release_of(BACKDOOR_MANIFEST, expires=NOW - 1), file=BACKDOOR_MANIFEST.file),
        reason="expired",
    ),
    "everybody signed what is no number": Attack(
        model=NAN,
        manifest=cosigned(manifest_of(NAN)),
        release=sealed_release(release_of(manifest_of(NAN)), file=digest_of(NAN)),
        reason="finite",
    ),
}


def plainly(folder: Path) -> bool:
    """Load a model as most programs do, and tell whether there is one."""
    return bool(load_file(folder / MODEL_FILE))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_forged_model_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    attack = ATTACKS[name]
    memory = tmp_path / "memory"
    folder = write_released(
        tmp_path / "sold", release=attack.release, manifest=attack.manifest, model=attack.model
    )
    with pytest.raises((TrustError, MalformedMessageError), match=attack.reason) as refused:
        open_released(folder, ROOT, task=TASK, memory=memory, now=NOW)
    assert "\n" not in str(refused.value)
    assert not memory.exists()
    assert plainly(folder)  # the defence off


def test_the_same_attacks_succeed_with_what_they_lack(tmp_path: Path) -> None:
    """Had two sites signed the backdoor, it would open: what holds it back is their signatures."""
    manifest = cosigned(BACKDOOR_MANIFEST, sites=[EAST, SOUTH], strangers=[new_key()])
    release = sealed_release(release_of(file=manifest), file=BACKDOOR_MANIFEST.file)
    folder = write_released(tmp_path, release=release, manifest=manifest, model=BACKDOOR)
    _, model = open_released(folder, ROOT, task=TASK, now=NOW)
    assert (model.parameters_P == BACKDOOR_P).all()


def test_an_older_release_is_not_sold_as_the_newest(tmp_path: Path) -> None:
    older = write_released(tmp_path / "older", release=sealed_release(release_of(number=1)))
    newer = write_released(tmp_path / "newer", release=sealed_release(release_of(number=2)))
    memory = tmp_path / "memory"
    open_released(newer, ROOT, task=TASK, memory=memory, now=NOW)
    with pytest.raises(TrustError, match="release 1 is older than 2, accepted before"):
        open_released(older, ROOT, task=TASK, memory=memory, now=NOW)
    open_released(older, ROOT, task=TASK, now=NOW)  # without a memory, it passes until it expires
    assert plainly(older)


def flip(raw: bytearray, rng: random.Random) -> None:
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def cut(raw: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(raw))
    del raw[begin : begin + rng.randrange(1, 64)]


def insert(raw: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(raw) + 1)
    raw[place:place] = rng.randbytes(rng.randrange(1, 16))


def repeat(raw: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(raw))
    raw[begin:begin] = raw[begin : begin + rng.randrange(1, 64)]


def overwrite(raw: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(raw))
    raw[begin : begin + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, b'"a":1e9,', b"[[[[[[[["])


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, insert, repeat, overwrite)


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Return other bytes than these."""
    other = bytearray(raw)
    while bytes(other) == raw:
        rng.choice(MUTATIONS)(other, rng)
    return bytes(other)


def test_of_1000_mutated_models_none_opens_and_none_crashes(tmp_path: Path) -> None:
    rng = random.Random(5)
    folder = write_released(tmp_path)
    whole = {name: (folder / name).read_bytes() for name in (MODEL_FILE, MANIFEST_FILE, RELEASE_FILE)}
    for number in range(1000):
        changed = list(whole)[number % 3]
        (folder / changed).write_bytes(mutated(whole[changed], rng))
        with pytest.raises(FedError):
            open_released(folder, ROOT, task=TASK, now=NOW)
        (folder / changed).write_bytes(whole[changed])
    open_released(folder, ROOT, task=TASK, now=NOW)


def test_a_mutated_header_that_everybody_signed_is_refused_or_says_the_same() -> None:
    rng = random.Random(6)
    header = 8 + int.from_bytes(MODEL_BYTES[:8], "little")
    refused = 0
    for _ in range(1000):
        raw = mutated(MODEL_BYTES[:header], rng) + MODEL_BYTES[header:]
        try:
            assert np.array_equal(parameters_of(raw, LAYOUT), FIRST_P)
        except MalformedMessageError:
            refused += 1
    assert refused > 900


def test_no_byte_of_the_manifest_can_be_changed() -> None:
    whole, models = cosigned(), TrustedModelSet(ROOT, task=TASK, last=None, now=NOW)
    models.update_release(sealed_release(release_of()))
    models.update_manifest(whole)
    for place in range(len(whole)):
        raw = bytearray(whole)
        raw[place] ^= 1
        with pytest.raises((TrustError, MalformedMessageError)):
            models.update_manifest(bytes(raw))
