"""Rebuilds a patient's picture from a site's answer, by parameters that let it through to the last layer.

Each channel of the two convolutions is one tap: it shifts the picture. What the poolings make of a shifted
picture is the brightest pixel in each window of 4x4, every 4 pixels; 49 shifts give all windows. The last
layer is 0, so that its gradient is these features, for one patient in one step up to a factor. A pixel is
then at most the darkest of the windows that hold it, and in a picture without fine dark lines about that.
"""

# Shape letters: C channels, H rows, W columns, R x Q cells of the last maps, P parameters.

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from fed_client.dataset import LabelledImages
from fed_common import seeds
from fed_common.audit import Attack
from fed_common.greys import stored
from fed_common.layout import from_tensors, layout_of
from fed_common.metrics import Estimate
from fed_common.models import build_model
from fed_sim.anatomy import GRID, draw_body
from fed_sim.audit.asking import ask, train_terms
from fed_sim.audit.canaries import SPEC, last_layer
from fed_sim.audit.hospital import SiteParts
from fed_sim.audit.readings import ONE_STEP, WithoutNoise

_SHIFTS, _WINDOW, _CELLS = 7, 4, 6
_SEEN = _WINDOW * (_CELLS - 1) + _SHIFTS  # so many windows down and across
_BLACK = -2.0  # as the model sees it
_VICTIMS = 8
# Less than half of the picture's variance: the square of a correlation is the share that is explained.
_RECOGNISABLE = float(np.sqrt(0.5))


def invert(parts: SiteParts) -> Attack:
    """Return how near rebuilt pictures of phantom patients, each alone in a step, come to the real ones."""
    rng = seeds.stream(0, "victims of the audit")
    pictures = [_phantom(rng) for _ in range(_VICTIMS)]
    off = replace(parts, randomness=WithoutNoise(parts.randomness))
    return Attack(
        what="inversion: correlation of a rebuilt picture with the patient's",
        protected=_likeness(parts, pictures),
        unprotected=_likeness(off, pictures),
        limit=_RECOGNISABLE,
    )


def _likeness(parts: SiteParts, pictures: list[NDArray[np.float64]]) -> Estimate:
    found = [
        float(np.corrcoef(_rebuilt(parts, grey_HW).ravel(), grey_HW[:_SEEN, :_SEEN].ravel())[0, 1])
        for grey_HW in pictures
    ]
    margin = 1.96 * float(np.std(found, ddof=1)) / len(found) ** 0.5
    mean = float(np.mean(found))
    return Estimate(value=mean, low=mean - margin, high=mean + margin)


def _rebuilt(parts: SiteParts, grey_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what an answer about this patient shows of the picture, but for its last rows and columns."""
    patient = LabelledImages(
        images_NCHW=torch.from_numpy(stored(np.rint(grey_HW[None, None] * 65535).astype(np.uint16))),
        labels_N=torch.tensor([1]),
        patients_N=torch.tensor([0]),
        num_patients=1,
    )
    (told,) = ask(parts, patient, parameters_P=transparent_parameters(), terms=train_terms(ONE_STEP))
    features_CRQ = last_layer(told.sum_P).reshape(-1, _CELLS, _CELLS)
    # The same window is seen by several shifts and cells; with noise, their mean is better than one.
    sum_HW, count_HW = np.zeros((2, _SEEN, _SEEN))
    for channel, (down, across) in enumerate(_shifts()):
        window = np.s_[down::_WINDOW, across::_WINDOW]
        sum_HW[window][:_CELLS, :_CELLS] += features_CRQ[channel]
        count_HW[window][:_CELLS, :_CELLS] += 1
    brightest_HW = sum_HW / count_HW
    # Window (s, t) begins at its pixel; a pixel is in those that begin up to 3 rows and columns before it.
    darkest_HW: NDArray[np.float64] = minimum_filter(brightest_HW, size=_WINDOW, origin=1)
    return darkest_HW


def transparent_parameters() -> NDArray[np.float32]:
    """Return the flat parameters that show the picture to the last layer."""
    layout = layout_of(build_model(SPEC))
    tensors = {name: np.zeros(shape, dtype=np.float32) for name, shape in layout}
    first, first_bias, second, *_ = tensors.values()
    for row in range(3):
        for column in range(3):
            first[3 * row + column, 0, row, column] = 1
    first_bias[:9] = -_BLACK  # so that nothing is below 0, where ReLU would cut it off
    for channel, shift in enumerate(_shifts()):
        # A pixel of the second convolution is two of the picture.
        (tap_row, row), (tap_column, column) = (_split(pixels) for pixels in shift)
        second[channel, 3 * row + column, tap_row, tap_column] = 1
    return from_tensors(tensors, layout)


def _split(pixels: int) -> tuple[int, int]:
    """Return the taps of second and first convolution that shift by so many pixels together."""
    tap = min(pixels // 2, 2)
    return tap, pixels - 2 * tap


def _shifts() -> list[tuple[int, int]]:
    return [(down, across) for down in range(_SHIFTS) for across in range(_SHIFTS)]


def _phantom(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a chest with a lesion, in greys of 0 to 1."""
    body_HW = draw_body(rng, lesion=True)
    step = GRID // SPEC.size
    small_HW = body_HW.reshape(SPEC.size, step, SPEC.size, step).mean(axis=(1, 3))
    grey_HW: NDArray[np.float64] = (small_HW - small_HW.min()) / np.ptp(small_HW)
    return grey_HW
