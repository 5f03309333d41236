"""The images of virtual sites: drawn when a site first trains, in memory that all processes share."""

# Shape letters: S sites, N images of a site, H rows, W columns.

import math
import mmap
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.dataset import LabelledImages
from fed_client.window import Window
from fed_common.greys import model_input, stored
from fed_common.seeds import stream
from fed_common.test_set import TestSet
from fed_sim.acquisition import Encoding
from fed_sim.anatomy import draw_body
from fed_sim.scanners import scanner_of

SIDE = 32
CLASSES = ("normal", "lesion")
# Hospitals differ in their scanner, and in how many of their patients are ill.
_SCANNERS = 6
_PREVALENCES = (0.35, 0.5, 0.25, 0.4)

Number = TypeVar("Number", bound=np.generic)


class SiteImages(Protocol):
    """Where a virtual site's images come from."""

    def of(self, site: int) -> LabelledImages:
        """Return the images of the site, the same ones at every call and in every process."""
        ...


class DrawnImages:
    """Phantoms for every site; nothing is drawn, and no page of memory taken, before a site trains.

    The memory has no name: forked processes share it, and it is gone with the last of them, even if killed.
    """

    def __init__(self, *, sites: int, images: int, seed: int) -> None:
        shape = (sites, images, SIDE, SIDE)
        self._greys_SNHW: NDArray[np.int16] = shared_array(shape, np.int16)
        self._labels_SN: NDArray[np.int64] = shared_array((sites, images), np.int64)
        self._drawn_S: NDArray[np.bool_] = shared_array((sites,), np.bool_)
        self._patients_N = torch.arange(images)
        self._seed = seed

    def of(self, site: int) -> LabelledImages:
        """Return the images of the site; within a round, one process only may ask for a site."""
        greys_NHW, labels_N = self._greys_SNHW[site], self._labels_SN[site]
        if not self._drawn_S[site]:
            rng = stream(self._seed, f"images of virtual site {site}")
            for place in range(len(labels_N)):
                greys_NHW[place], labels_N[place] = _draw(site, _PREVALENCES[site % len(_PREVALENCES)], rng)
            self._drawn_S[site] = True
        return LabelledImages(
            images_NCHW=torch.from_numpy(greys_NHW[:, np.newaxis]),
            labels_N=torch.from_numpy(labels_N),
            patients_N=self._patients_N,
            num_patients=len(labels_N),
        )


class BlackImage:
    """A single black image for whoever asks: what is compiled on it needn't be compiled by each worker."""

    def of(self, site: int) -> LabelledImages:
        """Return it, whichever the site is."""
        return LabelledImages(
            images_NCHW=torch.full((1, 1, SIDE, SIDE), -(1 << 15), dtype=torch.int16),
            labels_N=torch.zeros(1, dtype=torch.int64),
            patients_N=torch.zeros(1, dtype=torch.int64),
            num_patients=1,
        )


def drawn_test_set(*, images: int, seed: int) -> TestSet:
    """Return public test images of all scanners in turn, of one prevalence."""
    rng = stream(seed, "images of the virtual test set")
    drawn = [_draw(place, 0.4, rng) for place in range(images)]
    greys_NHW = np.stack([grey_HW for grey_HW, _ in drawn])
    return TestSet(
        images_NCHW=model_input(torch.from_numpy(greys_NHW[:, np.newaxis])),
        labels_N=torch.tensor([label for _, label in drawn]),
        patients_N=torch.arange(images),
    )


def shared_array(shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
    """Return zeros that this process and those forked from it see alike."""
    memory = mmap.mmap(-1, math.prod(shape) * np.dtype(kind).itemsize)
    return np.frombuffer(memory, dtype=kind).reshape(shape)


def _draw(site: int, prevalence: float, rng: np.random.Generator) -> tuple[NDArray[np.int16], int]:
    """Return a patient as the site's scanner shows one, in stored greys, and whether there is a lesion."""
    scanner = replace(scanner_of(site % _SCANNERS), rows=SIDE, columns=SIDE)
    lesion = bool(rng.uniform() < prevalence)
    grey_HW = _shown(scanner.encoding, scanner.scan(draw_body(rng, lesion=lesion), rng))
    return stored(np.rint(grey_HW * 65535).astype(np.uint16)), int(lesion)


def _shown(encoding: Encoding, stored_HW: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return stored pixels as grey from 0 (black) to 1 (white), as a viewer does."""
    numbers_HW = stored_HW.view(np.int16) if encoding.signed else stored_HW
    real_HW = numbers_HW.astype(np.float32) * encoding.rescale_slope + encoding.rescale_intercept
    grey_HW = Window(centre=encoding.window_center, width=encoding.window_width).grey(real_HW)
    return 1 - grey_HW if encoding.photometric == "MONOCHROME1" else grey_HW
