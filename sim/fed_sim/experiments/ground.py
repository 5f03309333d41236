"""Holds one federation's files and images, on which models of all kinds are trained one after the other.

The files are those of the service. They stay on disk, so that after an interruption the same patients are
trained and tested on: a hospital deals them to its sides by a secret of its own.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from fed_client.config import SiteConfig, load_site_config
from fed_client.dataset import SiteDataset
from fed_client.opening import open_registered, register_configured
from fed_common import canonical
from fed_common.errors import ConfigError
from fed_common.files import write_atomically
from fed_common.machine import settle_in
from fed_common.names import Digest, SiteName, digest_of
from fed_common.plans import SiteTerms
from fed_server.config import FederationConfig, load_federation_config
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.hospitals import SUMMARY_FILE
from fed_sim.references import pool
from fed_sim.scenario import Scenario

_TERMS_FILE = "founded-on.sha256"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The coordinator's configuration, and of each hospital its own and its images."""

    config: FederationConfig
    site_configs: Mapping[SiteName, SiteConfig]
    datasets: Mapping[SiteName, SiteDataset]

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        hospitals: Path,
        scenario: Scenario,
        known: KnownPictures,
        test_fraction: float = 0.0,
    ) -> Self:
        """Return the federation in `folder`, founded and registered there if nobody did before.

        Raises:
            ConfigError: it was founded on other hospitals or data, or for another model or test fraction.
            FedError: of the family that says who must act.
        """
        settle_in()
        data = scenario.data.model_copy(update={"site_test_fraction": test_fraction})
        scenario = scenario.model_copy(update={"data": data})
        terms = _terms(hospitals, scenario)
        if folder.exists():
            refuse_other(
                folder / _TERMS_FILE,
                terms,
                problem="was founded on other hospitals, data, model or test fraction",
            )
        else:
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _found(unfinished, hospitals=hospitals, scenario=scenario, known=known)
            write_atomically(unfinished / _TERMS_FILE, terms.encode())
            unfinished.rename(folder)
        consortium = Consortium.at(folder)
        config = load_federation_config(consortium.federation_file)
        site_configs = {name: load_site_config(consortium.site_file(name)) for name in consortium.sites}
        ground = cls(
            config=config,
            site_configs=site_configs,
            datasets={name: open_registered(site)[1] for name, site in site_configs.items()},
        )
        for dataset in ground.datasets.values():
            ground._prepare(dataset, known)
        if config.test_set is not None:
            known.prepare(config.settings.model, config.test_set.images_NCHW)
        return ground

    @property
    def cohort(self) -> tuple[SiteTerms, ...]:
        """Return all hospitals."""
        return self.config.settings.cohort

    def pooled(self, known: KnownPictures) -> tuple[SiteTerms, SiteDataset]:
        """Return one hospital that has the patients of all."""
        parts = list(self.datasets.values())
        together = SiteDataset(
            train=pool([dataset.train for dataset in parts]),
            validation=pool([dataset.validation for dataset in parts]),
            test=pool([dataset.test for dataset in parts]),
            digest=parts[0].digest,
        )
        self._prepare(together, known)
        patients = sum(site.patients for site in self.cohort)
        return replace(self.cohort[0], patients=patients), together

    def _prepare(self, dataset: SiteDataset, known: KnownPictures) -> None:
        for images in (dataset.train, dataset.validation, dataset.test):
            if len(images.labels_N):
                known.prepare(self.config.settings.model, images.images_NCHW)


@dataclass(frozen=True, kw_only=True)
class _Terms:
    hospitals: Digest
    scenario: str


def _terms(hospitals: Path, scenario: Scenario) -> Digest:
    """Return what identifies all that a federation keeps of its founding, besides chance."""
    return canonical.digest(
        _Terms(
            hospitals=digest_of((hospitals / SUMMARY_FILE).read_bytes()),
            scenario=scenario.model_dump_json(include={"data", "partition", "model"}),
        )
    )


def refuse_other(mark: Path, expected: Digest, *, problem: str) -> None:
    """Return only if the folder's mark says that it was made for what is asked now.

    Raises:
        ConfigError: it was made for something else, or nobody knows what for.
    """
    if not mark.exists() or mark.read_text(encoding="ascii") != expected:
        raise ConfigError(f"{mark.parent}: {problem}; choose another folder for these")


def _found(folder: Path, *, hospitals: Path, scenario: Scenario, known: KnownPictures) -> None:
    consortium = found_consortium(
        folder, hospitals=hospitals, scenario=scenario, open_reader=known.open_reader
    )
    for name in consortium.sites:
        register_configured(load_site_config(consortium.site_file(name)), open_reader=known.open_reader)
