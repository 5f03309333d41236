"""The model as it leaves the coordinator: parameters in safetensors, facts in a signed manifest beside them.

A checkpoint is a folder `NNNN/` with `model.safetensors` and `manifest.json`, an in-toto statement about it
in a DSSE envelope; where the model is a mean over rounds, also with `iterate.safetensors`, which the next
round goes on from, and where the algorithm keeps more than that, with `memory.safetensors`. It is written
aside, synced and renamed as a whole; each manifest names the one before it, so that the chain can't be
shortened or reordered.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_safetensors

from fed_common import canonical
from fed_common.array_bytes import array_bytes
from fed_common.artefacts.envelope import Envelope
from fed_common.artefacts.participation import SiteRounds, StartingPoint
from fed_common.artefacts.statement import SUBJECT, decode_statement, encode_statement
from fed_common.artefacts.tensors import parameters_of, read_model_file
from fed_common.errors import MachineError, TrustError
from fed_common.files import sync_folder, write_atomically
from fed_common.layout import layout_of, to_tensors
from fed_common.messages import PrivacyStatement
from fed_common.models import ModelSpec, build_model
from fed_common.names import Bytes, Digest, RunId, SiteName, body_digest, digest_of
from fed_common.plans import TrainTerms
from fed_common.scoring import TestFigures
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.task import Task
from fed_common.vote import Rollback, Standing

MODEL_FILE = SUBJECT
ITERATE_FILE = "iterate.safetensors"
MEMORY_FILE = "memory.safetensors"
MANIFEST_FILE = "manifest.json"
FIRST = Digest("0" * 64)


@dataclass(frozen=True, kw_only=True)
class SitePrivacy:
    """What one site stated with its last answer."""

    site: SiteName
    privacy: PrivacyStatement


@dataclass(frozen=True, kw_only=True)
class MemoryFacts:
    """Which vectors, each as long as the model, the algorithm keeps for the next round, and in which file."""

    names: tuple[str, ...]
    file: Digest


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The signed facts about one checkpoint.

    Whoever uses the model prepares images by the task's recipe, makes input of them by
    `terms.normalisation`, and reads the logits as `multi_label` says (`fed_common.objective`). `iterate` is
    the file that the next round goes on from, where that isn't the model, and `memory` what it needs besides;
    `trained` says who the model is made of since the run began, and `begun_from` of whom the parameters are
    that it began with.
    With a vote, `standing` is what the next candidate is held against; after a `rollback` the parameters are
    those of an earlier round, while rounds and chain go on.
    """

    version: Literal[1] = 1
    run: RunId
    round: int
    rounds: int
    settings: Digest
    task: Digest
    classes: tuple[str, ...]
    positive: str
    multi_label: bool
    model: str
    parameters: Digest
    file: Digest
    iterate: Digest | None = None
    memory: MemoryFacts | None = None
    standing: Standing | None = None
    rollback: Rollback | None = None
    terms: TrainTerms
    sites: tuple[SitePrivacy, ...]
    trained: tuple[SiteRounds, ...]
    begun_from: StartingPoint | None = None
    test: TestFigures | None
    previous: Digest

    @property
    def made_of(self) -> frozenset[SiteName]:
        """Return all sites whose updates are in the parameters."""
        since = {trained.site for trained in self.trained}
        return frozenset(since.union(self.begun_from.sites if self.begun_from else ()))

    def is_about(self, task: Task) -> bool:
        """Tell whether the model is for the task, and its outputs are said to mean what they mean there."""
        said = (self.task, self.classes, self.positive, self.multi_label)
        return said == (task.digest, task.classes, task.positive, task.multi_label)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Parameters with the manifest that vouches for them."""

    manifest: Manifest
    parameters_P: NDArray[np.float32]

    @property
    def digest(self) -> Digest:
        """Identify the checkpoint for the manifest that follows it."""
        return canonical.digest(self.manifest)


def parameter_bytes(parameters_P: NDArray[np.float32]) -> Bytes:
    """Return the little-endian bytes that travel and whose digest a plan names."""
    return array_bytes(parameters_P, "<f4")


def encode_model(parameters_P: NDArray[np.float32], spec: ModelSpec) -> bytes:
    """Return the parameters as a safetensors file of named tensors."""
    return save_safetensors(to_tensors(parameters_P, layout_of(build_model(spec))))


def publish(
    folder: Path,
    checkpoint: Checkpoint,
    model: bytes,
    key: SigningKey,
    *,
    beside: Mapping[str, bytes | None] = MappingProxyType({}),
) -> None:
    """Put the signed checkpoint into `folder`, whole or not at all, with the files `beside` the model.

    Raises:
        MachineError: it can't be written; what was published before is untouched.
    """
    target = folder / folder_name(checkpoint.manifest.round)
    aside = folder / f".{target.name}.partial"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        write_atomically(aside / MODEL_FILE, model)
        for name, contents in beside.items():
            if contents is not None:
                write_atomically(aside / name, contents)
        write_atomically(aside / MANIFEST_FILE, sign_manifest(checkpoint.manifest, key).encode())
        aside.rename(target)
        sync_folder(folder)
    except OSError as error:
        raise MachineError(f"{target}: can't be written ({error.strerror})") from error


def load(folder: Path, spec: ModelSpec, key: VerifyingKey) -> Checkpoint:
    """Return the checkpoint in `folder`, verified before anything in it is used.

    Raises:
        TrustError: the manifest isn't signed by `key`, or the model isn't the one it names.
        MalformedMessageError: the files have another form.
    """
    manifest = load_manifest(folder, key)
    layout = layout_of(build_model(spec))
    return checkpoint_of(manifest, read_model_file(folder / MODEL_FILE, layout), spec)


def checkpoint_of(manifest: Manifest, contents: bytes, spec: ModelSpec) -> Checkpoint:
    """Return the model in a file that a trusted manifest names.

    Raises:
        TrustError: it is another file, another network's, or has other parameters.
        MalformedMessageError: the file has another form.
    """
    if manifest.model != spec.fingerprint:
        raise TrustError(f"a model of {manifest.model}, not of {spec.fingerprint}")
    parameters_P = _named_parameters(MODEL_FILE, contents, manifest.file, spec)
    if body_digest(parameter_bytes(parameters_P)) != manifest.parameters:
        raise TrustError("not the parameters that the manifest names")
    return Checkpoint(manifest=manifest, parameters_P=parameters_P)


def load_iterate(folder: Path, checkpoint: Checkpoint, spec: ModelSpec) -> NDArray[np.float32]:
    """Return the parameters that the round after `checkpoint`, which is in `folder`, goes on from.

    Raises:
        TrustError: they aren't those that the manifest names.
        MalformedMessageError: the file has another form.
    """
    if checkpoint.manifest.iterate is None:
        return checkpoint.parameters_P
    contents = read_model_file(folder / ITERATE_FILE, layout_of(build_model(spec)))
    return _named_parameters(ITERATE_FILE, contents, checkpoint.manifest.iterate, spec)


def encode_memory(memory: Mapping[str, NDArray[np.float32]]) -> bytes | None:
    """Return what an algorithm keeps as a safetensors file; None if it keeps nothing."""
    return save_safetensors(dict(memory)) if memory else None


def load_memory(folder: Path, checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """Return what the algorithm kept with `checkpoint`, which is in `folder`.

    Raises:
        TrustError: it isn't what the manifest names.
        MalformedMessageError: the file has another form.
    """
    facts = checkpoint.manifest.memory
    if facts is None:
        return {}
    size = len(checkpoint.parameters_P)
    layout = tuple((name, (size,)) for name in facts.names)
    contents = read_model_file(folder / MEMORY_FILE, layout)
    if digest_of(contents) != facts.file:
        raise TrustError(f"{MEMORY_FILE}: not the file that the manifest names")
    vectors = np.split(parameters_of(contents, layout), len(facts.names))
    return dict(zip(facts.names, vectors, strict=True))


def _named_parameters(file: str, contents: bytes, named: Digest, spec: ModelSpec) -> NDArray[np.float32]:
    if digest_of(contents) != named:
        raise TrustError(f"{file}: not the file that the manifest names")
    return parameters_of(contents, layout_of(build_model(spec)))


def sign_manifest(manifest: Manifest, key: SigningKey) -> Envelope:
    """Return the manifest as the coordinator states it, with room for more signatures."""
    return Envelope.seal(encode_statement(manifest, subject=manifest.file), key)


def load_manifest(folder: Path, key: VerifyingKey) -> Manifest:
    """Return the signed facts of the checkpoint in `folder`; that others signed, too, isn't looked at.

    Raises:
        TrustError: the manifest is missing or isn't signed by `key`.
        MalformedMessageError: it has another form.
    """
    envelope = load_envelope(folder)
    envelope.refuse_unsigned(key)
    subject, manifest = decode_statement(envelope.statement, Manifest)
    if subject != manifest.file:
        raise TrustError(f"{folder}: the manifest is about another file than it names")
    return manifest


def load_envelope(folder: Path) -> Envelope:
    """Return the manifest in `folder` with its signatures, of which none is checked yet.

    Raises:
        TrustError: it is missing.
        MalformedMessageError: it has another form.
    """
    try:
        return Envelope.read((folder / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise TrustError(f"{folder}: not a whole checkpoint ({error.strerror})") from error


def copy(folder: Path, target: Path) -> None:
    """Copy the model in `folder` with its manifest; nothing of it is checked yet.

    Raises:
        TrustError: it isn't whole.
        MachineError: the copy can't be written.
    """
    for name in (MODEL_FILE, MANIFEST_FILE):
        try:
            contents = (folder / name).read_bytes()
        except OSError as error:
            raise TrustError(f"{folder}: not a whole checkpoint ({error.strerror})") from error
        write_atomically(target / name, contents)


def folder_name(number: int) -> str:
    """Return what the folder of the checkpoint of round `number` is called."""
    return f"{number:04d}"


def latest(folder: Path) -> Path | None:
    """Return the folder of the last published checkpoint; half-written ones don't count."""
    published = sorted(path for path in folder.glob("[0-9][0-9][0-9][0-9]") if path.is_dir())
    return published[-1] if published else None
