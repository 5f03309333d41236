"""Opens a run of virtual sites in a folder: images, ledgers, engine, and the state to go on from."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fed_client.prv import PrvAccountant
from fed_common.accounting import PldAccountant
from fed_common.files import exclusive, write_atomically
from fed_common.key_files import pem
from fed_common.machine import settle_in
from fed_common.models import ModelSpec, initial_parameters
from fed_common.names import RunId, run_id
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import SigningKey
from fed_server.averaging import Weights
from fed_sim.engine.engine import Engine, SequentialEngine, SiteWork
from fed_sim.engine.ledgers import VirtualLedgers
from fed_sim.engine.local_training import (
    LocalTraining,
    PrivateTraining,
    UnprotectedTerms,
    UnprotectedTraining,
)
from fed_sim.engine.processes import ProcessEngine
from fed_sim.engine.running import VirtualRun
from fed_sim.engine.scenario import UnprotectedTable, VirtualScenario, VirtualTable
from fed_sim.engine.site_images import CLASSES, BlackImage, DrawnImages, SiteImages, drawn_test_set
from fed_sim.engine.state import RunState
from fed_sim.engine.terms import admitted, policy_of, private_terms, unprotected_terms

SPEC = ModelSpec(channels=1, classes=len(CLASSES))


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run ready to go on; `ledgers` are those of a private one."""

    run: VirtualRun
    state: RunState
    ledgers: VirtualLedgers | None


@contextmanager
def opened_run(
    scenario: VirtualScenario,
    folder: Path,
    *,
    workers: int,
    images: SiteImages | None = None,
    randomness: Randomness | None = None,
) -> Iterator[OpenRun]:
    """Hold the run in `folder`, begun if there is none; with 0 `workers`, this process trains.

    Images are drawn and `randomness` is the operating system's, unless a benchmark or a test brings others.
    Workers are forked before anything here starts a thread.

    Raises:
        ConfigError: the folder holds the run of another scenario, or no noise is enough.
        PolicyRefusal: the policy doesn't admit the terms.
        MachineError: the disk refuses, or another process holds the folder.
    """
    settle_in()
    virtual = scenario.virtual
    terms = _terms(scenario)
    images = images or DrawnImages(sites=virtual.sites, images=virtual.images, seed=virtual.seed)
    with (
        _engine(
            partial(_training, scenario, terms, randomness or SystemRandomness()), images, virtual, workers
        ) as engine,
        # After the forks: with the lock, a worker would hold it longer than a parent that is killed.
        exclusive(folder, owner="fed-sim"),
    ):
        state = _state(scenario, folder)
        ledgers = _ledgers(scenario, terms, folder)
        run = VirtualRun(
            scenario=scenario,
            spec=SPEC,
            state_file=folder / "state",
            engine=engine,
            charge=_nothing if ledgers is None else ledgers.charge,
            test_set=cache(partial(drawn_test_set, images=virtual.test_images, seed=virtual.seed)),
        )
        yield OpenRun(run=run, state=state, ledgers=ledgers)


def _terms(scenario: VirtualScenario) -> TrainTerms | UnprotectedTerms:
    table = scenario.protection
    if isinstance(table, UnprotectedTable):
        return unprotected_terms(scenario, table)
    return private_terms(scenario, table)


def _training(
    scenario: VirtualScenario,
    terms: TrainTerms | UnprotectedTerms,
    randomness: Randomness,
    images: SiteImages,
) -> LocalTraining:
    if isinstance(terms, UnprotectedTerms):
        return UnprotectedTraining(SPEC, images, terms, seed=scenario.virtual.seed)
    return PrivateTraining(SPEC, images, terms, randomness=randomness)


@contextmanager
def _engine(
    training: Callable[[SiteImages], LocalTraining], images: SiteImages, virtual: VirtualTable, workers: int
) -> Iterator[Engine]:
    size = initial_parameters(SPEC, seed=0).size
    rehearsal = SiteWork(training=training(BlackImage()), patients=1, num_parameters=size)
    SequentialEngine(rehearsal).mean_update(0, [0], np.zeros(size, dtype=np.float32))
    work = SiteWork(training=training(images), patients=virtual.images, num_parameters=size)
    if not workers:
        yield SequentialEngine(work)
        return
    with ProcessEngine.started(work, workers=workers) as engine:
        yield engine


def _state(scenario: VirtualScenario, folder: Path) -> RunState:
    found = RunState.find(folder / "state", scenario=scenario.digest)
    if found is not None:
        return found
    first = RunState(
        run=run_id(f"{scenario.name}-{secrets.token_hex(4)}"),
        scenario=scenario.digest,
        round=0,
        weights=Weights.first(initial_parameters(SPEC, seed=scenario.training.seed)),
    )
    first.keep(folder / "state")  # before a ledger names the run
    return first


def _ledgers(
    scenario: VirtualScenario, terms: TrainTerms | UnprotectedTerms, folder: Path
) -> VirtualLedgers | None:
    if scenario.privacy is None or isinstance(terms, UnprotectedTerms):
        return None
    policy = policy_of(scenario, scenario.privacy, SPEC)
    return VirtualLedgers(
        folder=folder / "sites",
        key=_key(folder),
        policy=policy,
        spend=admitted(policy, scenario, terms, SPEC),
        accountants=(PrvAccountant(), PldAccountant()),
        data=scenario.digest,
    )


def _nothing(run: RunId, number: int, sites: Sequence[int]) -> None:
    """Charge nothing: what is drawn and not protected has no budget."""


def _key(folder: Path) -> SigningKey:
    """Return the key of all virtual sites, made when it is first asked for."""
    path = folder / "identity.key"
    if not path.exists():
        write_atomically(path, pem(Ed25519PrivateKey.generate()), private=True)
    key = SigningKey.load(path)
    write_atomically(folder / "identity.pub", key.verifying_key.pem)
    return key
