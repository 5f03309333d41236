"""Trains what a federation is compared with: one model on all images pooled, and one per hospital alone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from fed_client.dataset import LabelledImages
from fed_client.dataset.public import load_public_test, read_at_once
from fed_client.dataset.source import Reader, reading_processes
from fed_common.machine import settle_in
from fed_common.models import spec_for
from fed_common.names import SiteName
from fed_common.reference import Reference, References
from fed_common.task import Recipe, load_task
from fed_sim.baseline import BaselineCurves, BaselineTerms, train_baseline
from fed_sim.hospitals import PUBLIC_TEST, load_site_terms


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The references with the pooled one's curves."""

    references: References
    pooled: BaselineCurves


def train_references(hospitals: Path, *, terms: BaselineTerms, local: bool) -> Baselines:
    """Return the pooled reference and, where `local`, each hospital's own, judged on the public test set.

    Raises:
        ConfigError: the folder holds no hospitals.
        DataError: images or labels can't be used.
    """
    settle_in()
    names = [site.name for site in load_site_terms(hospitals)]
    task = load_task(hospitals / "task.toml")
    with reading_processes(task.recipe) as reader:

        def read_by_it(_recipe: Recipe) -> AbstractContextManager[Reader]:
            return nullcontext(reader)

        test = load_public_test(hospitals / PUBLIC_TEST, task, open_reader=read_by_it)
        images_of = {
            name: read_at_once(hospitals / name, task, open_reader=read_by_it).images for name in names
        }
    spec = spec_for(task)

    def trained(images: LabelledImages) -> BaselineCurves:
        return train_baseline(images, test, spec=spec, positive=task.positive_index, terms=terms)

    pooled = trained(pool(list(images_of.values())))
    models = [Reference(kind="pooled", label="pooled, unprotected", figures=pooled.test[-1])]
    if local:
        models += [_local(name, trained(images)) for name, images in images_of.items()]
    return Baselines(references=References(task=task.digest, models=tuple(models)), pooled=pooled)


def pool(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Return all parts' images together; the patients of different parts are different."""
    offsets = [sum(part.num_patients for part in parts[:index]) for index in range(len(parts))]
    return LabelledImages(
        images_NCHW=torch.cat([part.images_NCHW for part in parts]),
        labels_N=torch.cat([part.labels_N for part in parts]),
        patients_N=torch.cat([part.patients_N + offset for part, offset in zip(parts, offsets, strict=True)]),
        num_patients=sum(part.num_patients for part in parts),
    )


def _local(name: SiteName, curves: BaselineCurves) -> Reference:
    return Reference(kind="local", label=f"{name} alone", figures=curves.test[-1])
