"""Trains one model by the service's own code, on images that are public.

Images are registered from files, sites answer sealed plans, the coordinator averages and publishes. Two
things differ, because nobody's secrets are at stake. A site's budget is beyond reach and judged by the
fastest accountant; the noise is still that of the coordinator's epsilon. At epsilon infinity there is none.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_client.answers import AnswerStore
from fed_client.config import SiteConfig
from fed_client.countersignature import Countersignature
from fed_client.dataset import SiteDataset
from fed_client.plan_memory import PlanMemory
from fed_client.site import Site, SiteIdentity
from fed_client.site_log import SiteLog
from fed_common.accounting import RdpAccountant
from fed_common.artefacts.tensors import parameters_of
from fed_common.audit_log.log import AuditLog
from fed_common.checkpoint import Checkpoint
from fed_common.layout import layout_of
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.models import build_model
from fed_common.names import RunId, SiteName
from fed_common.plans import SiteTerms
from fed_common.proposal import Proposal
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import VerifyingKey
from fed_server.config import FederationConfig
from fed_server.run_folder import RunFolder
from fed_server.running import go_on
from fed_server.settings import RunSettings
from fed_sim.faults.faulty_site import answerers_of
from fed_sim.loopback import LoopbackExchange
from fed_sim.scenario import PolicyTable, Scenario

_BEYOND_REACH = 1000.0  # the largest budget that a policy can have

# Without privacy, a plan's terms have some epsilon and noise all the same; nobody adds it.
_NOMINAL = {"epsilon": _BEYOND_REACH, "noise_multiplier": 10.0}

# What a model that isn't federated has nothing of.
_FEDERATED_ONLY = frozenset(("aggregation", "algorithm", "personal", "communication"))


class NoNoise(SystemRandomness):
    """Samples as ever, and adds nothing: for images that are public."""

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add none."""


def settings_of(
    before: RunSettings, scenario: Scenario, *, cohort: tuple[SiteTerms, ...], epsilon: float, rounds: int
) -> RunSettings:
    """Return the settings of a run of the scenario by this cohort, with one evaluation at its end.

    A cohort of one is no federation: neither an algorithm nor an aggregation has a meaning there.

    Raises:
        ConfigError: the scenario contradicts itself.
    """
    names = {one.name for one in fields(RunSettings)} & Scenario.model_fields.keys() - {"name"}
    tables = {name: getattr(scenario, name) for name in names}
    if len(cohort) == 1:
        tables |= {name: Scenario.model_fields[name].default for name in names & _FEDERATED_ONLY}
    evaluation = scenario.evaluation
    if not (len(cohort) > 1 and scenario.aggregation.vote):
        evaluation = evaluation.model_copy(update={"every": rounds})
    # Without faults nobody is away, and everybody is waited for.
    quorum = scenario.quorum.sites if scenario.faults else len(cohort)
    tables |= {
        "training": scenario.training.model_copy(update={"rounds": rounds}),
        "privacy": scenario.privacy.model_copy(
            update={"epsilon": epsilon} if math.isfinite(epsilon) else _NOMINAL
        ),
        "evaluation": evaluation,
        "quorum": scenario.quorum.model_copy(update={"sites": min(quorum, len(cohort)), "gather_s": 0.0}),
    }
    return replace(before, cohort=cohort, **tables)


# Calibration takes longer than training, and is the same for all cohorts.
_noise_of: dict[Proposal, float] = {}


def _calibrated(settings: RunSettings) -> RunSettings:
    proposal = settings.proposal
    if proposal not in _noise_of:
        _noise_of[proposal] = settings.train_terms().dp.noise_multiplier
    noise = {"noise_multiplier": _noise_of[proposal]}
    return replace(settings, privacy=settings.privacy.model_copy(update=noise))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A run's last checkpoint, and of the sites that keep a model of their own, its parameters."""

    checkpoint: Checkpoint
    own: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def parameters_at(self, where: str) -> NDArray[np.float32]:
        """Return the parameters that patients are judged with there."""
        return self.own.get(where, self.checkpoint.parameters_P)


def train(
    config: FederationConfig,
    sites: Mapping[SiteName, tuple[SiteConfig, SiteDataset]],
    folder: Path,
    *,
    scenario: Scenario,
    private: bool,
) -> Trained:
    """Return what a new run in the new folder `folder` gives.

    Raises:
        FedError: of the family that says who must act.
    """
    # With an audit log of its own: its sites have new ones, too.
    config = replace(config, settings=_calibrated(config.settings), runs=folder / "runs")
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(
                _site(
                    site,
                    data,
                    folder / name,
                    policy=scenario.policy,
                    randomness=SystemRandomness() if private else NoNoise(),
                )
            )
            for name, (site, data) in sites.items()
        }
        # Who trains alone, or for all, is no federation that could fail.
        faults = scenario.faults if len(sites) > 1 else ()
        answerers = answerers_of(opened, faults, masked=config.settings.masked)
        exchange = stack.enter_context(LoopbackExchange.open(answerers))
        run = RunFolder.begin(config.runs, config.settings.name)
        checkpoint = go_on(config, run, exchange=exchange, observer=lambda event: None)
        return Trained(checkpoint=checkpoint, own=_own_parameters(config, run.run, folder, list(sites)))


def _own_parameters(
    config: FederationConfig, run: RunId, folder: Path, sites: Sequence[SiteName]
) -> Mapping[str, NDArray[np.float32]]:
    """Return the models that sites keep for themselves, where the run has them do so."""
    files = {str(name): folder / name / "answers" / "personal" / f"{run}.safetensors" for name in sites}
    model = config.settings.model
    layout = layout_of(build_model(model))
    return {name: parameters_of(file.read_bytes(), layout) for name, file in files.items() if file.exists()}


@contextmanager
def _site(
    config: SiteConfig, dataset: SiteDataset, folder: Path, *, policy: PolicyTable, randomness: Randomness
) -> Iterator[Site]:
    """Yield a site with a new ledger, on images that are in memory already."""
    limits = policy.model_dump(exclude={"epsilon", "min_cohort"})
    allowed = replace(config.policy, **limits, epsilon=_BEYOND_REACH, min_cohort=1, require_masks=False)
    key, coordinator = config.signing_key, VerifyingKey.load(config.coordinator)
    with PrivacyLedger.held(
        folder / "ledger.jsonl",
        witness=folder / "witness",
        key=key,
        subject=LedgerSubject(
            site=config.name,
            dataset=dataset.digest,
            unit=config.terms.unit,
            officer=VerifyingKey.load(config.officer).fingerprint,
            policy=allowed.digest,
        ),
        costliest=allowed.costliest_round(),
    ) as ledger:
        yield Site(
            identity=SiteIdentity(name=config.name, key=key, coordinator=coordinator),
            task=config.task,
            dataset=dataset,
            policy=allowed,
            ledger=ledger,
            answers=AnswerStore(folder / "answers"),
            countersignature=Countersignature(
                folder=folder / "countersigned", site=config.name, coordinator=coordinator
            ),
            plans=PlanMemory(
                folder=folder / "plans", key=key, coordinator=coordinator, task=config.task.digest
            ),
            log=SiteLog(site=config.name, log=AuditLog(folder / "audit.jsonl")),
            accountants=(RdpAccountant(),),
            randomness=randomness,
        )
