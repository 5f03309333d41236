"""What privacy costs in accuracy: real images, dealt out to hospitals that train together, alone or pooled.

Models are trained as in `fed_sim.experiments.training`, without an evaluation's cost to speak of; "pooled" is
one site that has the patients of all.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fed_client.dataset import SiteDataset
from fed_common.errors import ConfigError
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_common.scoring import TestFigures
from fed_sim.experiments.cell import Arm
from fed_sim.experiments.ground import Ground
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.experiments.training import settings_of, train
from fed_sim.scenario import Scenario

EPSILONS = (math.inf, 8.0, 3.0, 1.0)

# Evaluations at the sites that cost the model little.
_EVALUATION_NOISE = {math.inf: 10.0, 8.0: 10.0, 3.0: 20.0, 1.0: 60.0}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One model's figures on the public test set; `hospital` is empty unless it was trained there alone."""

    arm: Arm
    epsilon: float
    hospital: str
    figures: TestFigures


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
    ground = Ground.at(folder / "federation", hospitals=hospitals, scenario=scenario, known=known)
    pooled, together = ground.pooled(known)
    cohorts: list[tuple[Arm, str, tuple[SiteTerms, ...], Mapping[SiteName, SiteDataset]]] = [
        ("federated", "", ground.cohort, ground.datasets),
        ("pooled", "", (pooled,), {pooled.name: together}),
        *[("local", str(site.name), (site,), ground.datasets) for site in ground.cohort],
    ]
    for arm, hospital, cohort, data in cohorts:
        for epsilon in EPSILONS:
            if not wanted(arm, epsilon, hospital):
                continue
            noise = {"noise_multiplier": _EVALUATION_NOISE[epsilon]}
            cheap = scenario.model_copy(update={"evaluation": scenario.evaluation.model_copy(update=noise)})
            settings = settings_of(
                ground.config.settings, cheap, cohort=cohort, epsilon=epsilon, rounds=rounds[epsilon]
            )
            trained = train(
                replace(ground.config, settings=settings),
                {site.name: (ground.site_configs[site.name], data[site.name]) for site in cohort},
                folder / f"{arm}{hospital}-{epsilon:g}",
                scenario=scenario,
                private=math.isfinite(epsilon),
            )
            figures = trained.checkpoint.manifest.test
            if figures is None:
                raise ConfigError("utility is measured on a public test set, and these hospitals have none")
            yield Trained(arm=arm, epsilon=epsilon, hospital=hospital, figures=figures)
