"""Trains what a comparison lacks, cell by cell; called again, it goes on where it was killed.

OUT/results.sqlite                        every trained cell (`store`)
OUT/<study>/seed-<n>/hospitals            the patients as that seed deals them out, unless a folder was given
OUT/<study>/seed-<n>/federation.json      what is known of the hospitals in either case
OUT/<study>/seed-<n>/federation           their federation, whose hospitals have registered their images
OUT/<study>/seed-<n>/training             the cell in the making, which a kill loses
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from fed_client.dataset import SiteDataset
from fed_client.dataset.source import OpenReader, reading_processes
from fed_common import canonical
from fed_common.files import exclusive, write_atomically
from fed_common.layout import load_flat
from fed_common.models import build_model
from fed_common.names import Digest, SiteName, digest_of
from fed_common.plans import SiteTerms
from fed_common.task import load_task
from fed_sim.experiments.cell import PUBLIC, Cell, Measured, PatientScores
from fed_sim.experiments.code_version import commit
from fed_sim.experiments.grid import Study
from fed_sim.experiments.ground import Ground, refuse_other
from fed_sim.experiments.judging import score_patients
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.experiments.public_test import drop_unusable
from fed_sim.experiments.store import Store
from fed_sim.experiments.training import Trained, settings_of, train
from fed_sim.hospitals import PUBLIC_TEST, SUMMARY_FILE, load_site_terms, load_summary
from fed_sim.making import make_hospitals
from fed_sim.partition.picture import save_partition

STORE_FILE = "results.sqlite"
_MADE_FOR_FILE = "made-for.sha256"
_FEDERATION = "federation"


class Watch(Protocol):
    """Is told how it goes."""

    def expect(self, cells: int) -> None:
        """Hear how many cells there are, trained or not."""
        ...

    def done(self, cell: Cell, measured: Measured | None) -> None:
        """Hear that a cell is there; it had been before, if it wasn't measured now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the images come from: the folder of all collections, or hospitals that were made before.

    They are read in processes of their own, unless a test brings another reader.
    """

    collections: Path
    hospitals: Path | None = None
    open_reader: OpenReader = reading_processes


def run_studies(studies: Sequence[Study], out: Path, *, source: Source, watch: Watch) -> None:
    """Train every cell that the store in `out` lacks.

    Raises:
        FedError: of the family that says who must act; what was trained before is kept.
    """
    with exclusive(out, owner="fed-sim"), Store.opened(out / STORE_FILE) as store:
        deals = []
        for study in studies:
            known = KnownPictures(source.open_reader)
            folder = out / study.scenario.name
            deals += [_Deal.of(study, seed, folder, source=source, known=known) for seed in study.seeds]
        watch.expect(sum(len(deal.cells) for deal in deals))
        for deal in deals:
            deal.run(store, watch)


@dataclass(frozen=True, kw_only=True)
class _Deal:
    """One study's hospitals as one seed deals them out."""

    study: Study
    seed: int
    folder: Path
    hospitals: Path
    known: KnownPictures

    @classmethod
    def of(cls, study: Study, seed: int, folder: Path, *, source: Source, known: KnownPictures) -> "_Deal":
        """Return the deal, its hospitals on disk.

        Raises:
            ConfigError: hospitals lie there that were made for other tables.
        """
        folder = folder / f"seed-{seed}"
        hospitals = source.hospitals or folder / "hospitals"
        scenario = study.scenario
        made_for = digest_of(scenario.model_dump_json(include={"data", "partition"}).encode())
        if not hospitals.exists():
            unfinished = folder / "hospitals.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            make_hospitals(
                scenario.data,
                unfinished,
                collections=source.collections,
                spread=scenario.partition.spread(seed),
            )
            if (unfinished / PUBLIC_TEST).is_dir():
                task = load_task(unfinished / "task.toml")
                drop_unusable(unfinished / PUBLIC_TEST, task, known.open_reader)
            save_partition(load_summary(unfinished), unfinished / "partition.png")
            write_atomically(unfinished / _MADE_FOR_FILE, made_for.encode())
            unfinished.rename(hospitals)
        elif source.hospitals is None and not (folder / _FEDERATION).exists():
            # What a federation was founded on it knows by itself.
            refuse_other(
                hospitals / _MADE_FOR_FILE, made_for, problem="holds hospitals of other data or partition"
            )
        write_atomically(folder / SUMMARY_FILE, (hospitals / SUMMARY_FILE).read_bytes())
        return cls(study=study, seed=seed, folder=folder, hospitals=hospitals, known=known)

    @property
    def cells(self) -> list[Cell]:
        """Return all models of the deal, trained or not."""
        names = tuple(site.name for site in load_site_terms(self.hospitals))
        return list(self.study.cells(self.seed, names))

    def run(self, store: Store, watch: Watch) -> None:
        """Train the models that the store lacks."""
        lacking = []
        for cell in self.cells:
            if store.has(cell, terms=self._terms(cell)):
                watch.done(cell, None)
            else:
                lacking.append(cell)
        if not lacking:
            return
        ground = Ground.at(
            self.folder / _FEDERATION,
            hospitals=self.hospitals,
            scenario=self.study.scenario,
            known=self.known,
            test_fraction=self.study.scenario.comparison.test_fraction,
        )
        pooled = ground.pooled(self.known)
        for cell in lacking:
            measured = self._measured(cell, ground, pooled)
            store.add(measured, terms=self._terms(cell))
            watch.done(cell, measured)

    def _terms(self, cell: Cell) -> Digest:
        """Return what identifies all that decides what the cell is, besides chance and code."""
        hospitals = (self.hospitals / SUMMARY_FILE).read_bytes()
        scenario = self.study.scenario_of(cell).model_dump_json(exclude={"comparison"}, exclude_defaults=True)
        test_fraction = self.study.scenario.comparison.test_fraction
        return canonical.digest(
            _Terms(
                hospitals=digest_of(hospitals),
                scenario=scenario,
                rounds=self.study.rounds_of(cell),
                test_fraction=test_fraction,
            )
        )

    def _measured(self, cell: Cell, ground: Ground, pooled: tuple[SiteTerms, SiteDataset]) -> Measured:
        began = time.monotonic()
        scenario = self.study.scenario_of(cell)
        cohort, datasets = _trainees(cell, ground, pooled)
        seeded = scenario.training.model_copy(update={"seed": scenario.training.seed + cell.seed})
        settings = settings_of(
            ground.config.settings,
            scenario.model_copy(update={"training": seeded}),
            cohort=cohort,
            epsilon=cell.epsilon,
            rounds=self.study.rounds_of(cell),
        )
        folder = self.folder / "training"
        shutil.rmtree(folder, ignore_errors=True)
        trained = train(
            replace(ground.config, settings=settings),
            {name: (ground.site_configs[name], dataset) for name, dataset in datasets.items()},
            folder,
            scenario=scenario,
            private=cell.private,
        )
        shutil.rmtree(folder)
        return Measured(
            cell=cell,
            personal=bool(trained.own),
            scores=tuple(_judged(trained, ground)),
            seconds=time.monotonic() - began,
            commit=commit(),
        )


@dataclass(frozen=True, kw_only=True)
class _Terms:
    hospitals: Digest
    scenario: str
    rounds: int
    test_fraction: float


def _trainees(
    cell: Cell, ground: Ground, pooled: tuple[SiteTerms, SiteDataset]
) -> tuple[tuple[SiteTerms, ...], Mapping[SiteName, SiteDataset]]:
    match cell.arm:
        case "federated":
            return ground.cohort, ground.datasets
        case "pooled":
            terms, together = pooled
            return (terms,), {terms.name: together}
        case "local":
            site = next(site for site in ground.cohort if site.name == cell.hospital)
            return (site,), {site.name: ground.datasets[site.name]}


def _judged(trained: Trained, ground: Ground) -> list[PatientScores]:
    """Return the model's scores of the public test and of each hospital's own test patients."""
    settings = ground.config.settings
    model = build_model(settings.model)
    sets = {PUBLIC: ground.config.test_set, **{str(n): d.test for n, d in ground.datasets.items()}}
    found = []
    for where, images in sets.items():
        if images is None:
            continue
        load_flat(model, trained.parameters_at(where))
        scores = score_patients(
            model,
            images,
            where=where,
            positive=settings.task.positive_index,
            normalisation=trained.checkpoint.manifest.terms.normalisation,
        )
        found += [scores] if scores is not None else []
    return found
