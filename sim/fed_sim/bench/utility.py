"""What privacy costs in accuracy: real images, dealt out to hospitals that train together, alone or pooled.

It is the code of the service: images are registered from DICOM files, sites answer sealed plans, the
coordinator averages and publishes. Three things differ, because the images are public. A site's budget is
beyond reach and judged by the fastest accountant; the noise is still that of the coordinator's epsilon. At
epsilon infinity there is none. And "pooled" is one site that has the patients of all.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fed_client.answers import AnswerStore
from fed_client.config import SiteConfig, load_site_config
from fed_client.countersignature import Countersignature
from fed_client.dataset import SiteDataset
from fed_client.opening import open_registered, register_configured
from fed_client.plan_memory import PlanMemory
from fed_client.site import Site, SiteIdentity
from fed_client.site_log import SiteLog
from fed_common.accounting import RdpAccountant
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.machine import settle_in
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_common.proposal import PrivacyTable
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.scoring import TestFigures
from fed_common.signing import VerifyingKey
from fed_server.config import FederationConfig, load_federation_config
from fed_server.run_folder import RunFolder
from fed_server.running import go_on
from fed_server.settings import RunSettings
from fed_sim.bench.known_pictures import KnownPictures
from fed_sim.consortium import found_consortium
from fed_sim.loopback import LoopbackExchange
from fed_sim.references import pool
from fed_sim.scenario import Scenario

Arm = Literal["local", "federated", "pooled"]
ARMS: tuple[Arm, ...] = ("local", "federated", "pooled")
EPSILONS = (math.inf, 8.0, 3.0, 1.0)

# Evaluations at the sites that cost the model little.
_EVALUATION_NOISE = {math.inf: 10.0, 8.0: 10.0, 3.0: 20.0, 1.0: 60.0}

_BEYOND_REACH = 1000.0  # the largest budget that a policy can have


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One model's figures on the public test set; `hospital` is empty unless it was trained there alone."""

    arm: Arm
    epsilon: float
    hospital: str
    figures: TestFigures


class NoNoise(SystemRandomness):
    """Samples as ever, and adds nothing: for images that are public."""

    def gaussian(self, size: int, *, std: float) -> NDArray[np.float64]:
        """Return zeros."""
        del std
        return np.zeros(size)


def measure(
    hospitals: Path,
    scenario: Scenario,
    folder: Path,
    *,
    rounds: Mapping[float, int],
    known: KnownPictures,
    wanted: Callable[[Arm, float, str], bool],
) -> Iterator[Trained]:
    """Yield each `wanted` model as it is trained, by arm, epsilon and hospital; `folder` must be new.

    `rounds` says how many rounds each epsilon affords.

    Raises:
        FedError: of the family that says who must act.
    """
    settle_in()
    consortium = found_consortium(
        folder, hospitals=hospitals, scenario=scenario, open_reader=known.open_reader
    )
    config = load_federation_config(consortium.federation_file)
    site_configs = {name: load_site_config(consortium.site_file(name)) for name in consortium.sites}
    for site_config in site_configs.values():
        register_configured(site_config, open_reader=known.open_reader)
    datasets = {name: open_registered(site_config)[1] for name, site_config in site_configs.items()}
    everybody = config.settings.cohort
    together = _pooled(list(datasets.values()))
    for dataset in (*datasets.values(), together):
        for images in (dataset.train, dataset.validation):
            known.prepare(config.settings.model, images.images_NCHW)
    if config.test_set is not None:
        known.prepare(config.settings.model, config.test_set.images_NCHW)
    pooled = SiteTerms(name=everybody[0].name, patients=sum(site.patients for site in everybody))
    cohorts: list[tuple[Arm, str, tuple[SiteTerms, ...], Mapping[SiteName, SiteDataset]]] = [
        ("federated", "", everybody, datasets),
        ("pooled", "", (pooled,), {pooled.name: together}),
        *[("local", str(site.name), (site,), datasets) for site in everybody],
    ]
    for arm, hospital, cohort, data in cohorts:
        for epsilon in EPSILONS:
            if not wanted(arm, epsilon, hospital):
                continue
            name = f"{arm}{hospital}-{epsilon:g}"
            settings = _settings(config.settings, cohort, epsilon, rounds=rounds[epsilon])
            sites = {site.name: (site_configs[site.name], data[site.name]) for site in cohort}
            figures = _trained(
                replace(config, settings=settings), sites, folder / name, noise=epsilon < math.inf
            )
            yield Trained(arm=arm, epsilon=epsilon, hospital=hospital, figures=figures)


def _settings(
    settings: RunSettings, cohort: tuple[SiteTerms, ...], epsilon: float, *, rounds: int
) -> RunSettings:
    noise = _EVALUATION_NOISE[epsilon]
    changed = replace(
        settings,
        cohort=cohort,
        training=settings.training.model_copy(update={"rounds": rounds}),
        privacy=settings.privacy.model_copy(update={"epsilon": min(epsilon, 8.0)}),
        evaluation=settings.evaluation.model_copy(update={"every": rounds, "noise_multiplier": noise}),
        quorum=settings.quorum.model_copy(update={"sites": len(cohort), "gather_s": 0.0}),
    )
    return replace(changed, privacy=_calibrated(changed))


# Calibration takes longer than training, and is the same for all cohorts.
_noise_of: dict[tuple[float, int], float] = {}


def _calibrated(settings: RunSettings) -> PrivacyTable:
    key = (settings.privacy.epsilon, settings.training.rounds)
    if key not in _noise_of:
        _noise_of[key] = settings.train_terms().dp.noise_multiplier
    return settings.privacy.model_copy(update={"noise_multiplier": _noise_of[key]})


def _trained(
    config: FederationConfig,
    sites: Mapping[SiteName, tuple[SiteConfig, SiteDataset]],
    folder: Path,
    *,
    noise: bool,
) -> TestFigures:
    with ExitStack() as stack:
        answerers = {
            name: stack.enter_context(
                _site(site, data, folder / name, SystemRandomness() if noise else NoNoise())
            )
            for name, (site, data) in sites.items()
        }
        exchange = stack.enter_context(
            LoopbackExchange.open({name: site.answer for name, site in answerers.items()})
        )
        run = RunFolder.begin(folder / "runs", config.settings.name)
        figures = go_on(config, run, exchange=exchange, observer=lambda event: None).manifest.test
    if figures is None:
        raise ConfigError("utility is measured on a public test set, and these hospitals have none")
    return figures


@contextmanager
def _site(config: SiteConfig, dataset: SiteDataset, folder: Path, randomness: Randomness) -> Iterator[Site]:
    """Yield a site with a new ledger, on images that are in memory already."""
    policy = replace(config.policy, epsilon=_BEYOND_REACH, min_cohort=1, require_masks=False)
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
            policy=policy.digest,
        ),
        costliest=policy.costliest_round(),
    ) as ledger:
        yield Site(
            identity=SiteIdentity(name=config.name, key=key, coordinator=coordinator),
            task=config.task,
            dataset=dataset,
            policy=policy,
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


def _pooled(datasets: list[SiteDataset]) -> SiteDataset:
    return SiteDataset(
        train=pool([dataset.train for dataset in datasets]),
        validation=pool([dataset.validation for dataset in datasets]),
        test=pool([dataset.test for dataset in datasets]),
        digest=datasets[0].digest,
    )
