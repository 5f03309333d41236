"""What one virtual site does in a round: the service's private training, or the same steps unprotected."""

# Shape letters: N images of a site, P parameters of the flattened model.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fed_client.model_inputs import ModelInputs
from fed_client.private_step import private_step
from fed_client.training import clip_update, physical_batches, train_privately
from fed_common.layout import load_flat
from fed_common.models import ModelSpec, build_model
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness
from fed_common.seeds import stream
from fed_sim.engine.site_images import SiteImages


class LocalTraining(Protocol):
    """One site's part of a round; each process has its own copy, and asks it for one site at a time."""

    def update(self, number: int, site: int, weights_P: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far round `number` moves the weights at the site, clipped as a whole."""
        ...


class PrivateTraining:
    """The service's patient-level DP-SGD; its charge must be in the site's ledger before."""

    def __init__(
        self, spec: ModelSpec, images: SiteImages, terms: TrainTerms, *, randomness: Randomness
    ) -> None:
        self._model = build_model(spec)
        self._images = images
        self._terms = terms
        self._randomness = randomness

    def update(self, number: int, site: int, weights_P: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the clipped and noised update; `number` doesn't matter, no seed reaches this noise."""
        load_flat(self._model, weights_P)
        images = self._images.of(site)
        delta_P = train_privately(
            self._model,
            images,
            self._terms,
            # Every virtual site is as large as its size class.
            patients_public=images.num_patients,
            randomness=self._randomness,
            stop=lambda: False,
        )
        return clip_update(delta_P, self._terms.update_clip)


@dataclass(frozen=True, kw_only=True)
class UnprotectedTerms:
    """Plain SGD: `steps` steps through the site's images, shuffled anew whenever all have been seen."""

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    views: int
    longest_update: float


class UnprotectedTraining:
    """Plain SGD on drawn images, for research alone: no policy of a site can allow it.

    A batch counts as one patient that is never clipped, so the private step gives the batch's mean gradient.
    Its compiled loops take half the time of torch's plain step, and 0.8 of it with channels last.
    """

    def __init__(self, spec: ModelSpec, images: SiteImages, terms: UnprotectedTerms, *, seed: int) -> None:
        self._local = build_model(spec).train()
        self._step = private_step(self._local)
        self._images = images
        self._terms = terms
        self._seed = seed

    def update(self, number: int, site: int, weights_P: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the update; the same seed, round, site and weights give the same bits."""
        terms = self._terms
        inputs = ModelInputs(images=self._images.of(site), views=terms.views)
        rng = stream(self._seed, f"batches of site {site} in round {number}")
        moved_P = weights_P.astype(np.float64)
        velocity_P = np.zeros(moved_P.size)
        for index_N in _batches(len(inputs.images.labels_N), terms, rng):
            load_flat(self._local, moved_P)
            (batch,) = physical_batches(inputs, [index_N])
            velocity_P *= terms.momentum
            velocity_P += self._step.clipped_sum(batch, clip_norm=np.inf)
            moved_P -= terms.learning_rate * velocity_P
        moved_P -= weights_P
        return clip_update(moved_P, terms.longest_update)


def _batches(size: int, terms: UnprotectedTerms, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the images of each step; the last batch of a pass may be smaller."""
    left_N = np.empty(0, dtype=np.int64)
    for _ in range(terms.steps):
        if not left_N.size:
            left_N = rng.permutation(size)
        yield left_N[: terms.batch_size]
        left_N = left_N[terms.batch_size :]
