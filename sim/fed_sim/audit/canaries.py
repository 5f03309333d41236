"""Parameters and images made for each other, so that each image shows in a place of its own in the update.

A coordinator chooses the parameters that a site starts from, and one that cheats chooses these: the last
layer is 0, so that its gradient is an image's features, and no other layer has any. The convolutions
answer to marks. An image has two of `_MARKS`, the second diagonally below the first; the second
convolution has a channel for each pair of them and answers only where both are. So image i has the one
feature i, and its gradient, far longer than any clip, is a direction that no other image shares. What a
site adds up is read off image by image, and every coordinate before the last layer is noise alone.
"""

# Shape letters: N images, C channels, H rows, W columns, K classes, P parameters, I canaries.

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard

from fed_client.dataset import LabelledImages
from fed_common.greys import stored
from fed_common.layout import from_tensors, layout_of
from fed_common.models import ModelSpec, build_model

SPEC = ModelSpec(channels=1, classes=2)

# Marks of 3x3 pixels, 1 for white and -1 for black: two of them agree in 5 pixels of 9 (Hadamard's matrix).
_MARKS = np.pad(hadamard(8), ((0, 0), (0, 1)), constant_values=1).reshape(8, 3, 3)
# Poolings and unpadded convolutions leave 6 rows and columns of cells, 4 pixels apart; a cell's own marks
# are around its first pixel and around its last, which the second convolution sees in two of its taps.
_CELLS, _PITCH, _FIRST = 6, 4, 3
_TAPS = ((1, 1), (2, 2))
_WHITE = 2.0  # a white pixel as the model sees it; black is -2
_WHOLE_MARK = 9 * _WHITE
# Of a mark that is shifted, or another one, at most 6 pixels fit.
_ENOUGH = 7 * _WHITE
_FEATURE = 20.0

NUM_CANARIES = len(_MARKS) ** 2 * _CELLS**2


def planted_parameters() -> NDArray[np.float32]:
    """Return the flat parameters by which each canary has a feature of its own."""
    layout = layout_of(build_model(SPEC))
    tensors = {name: np.zeros(shape, dtype=np.float32) for name, shape in layout}
    first, first_bias, second, second_bias, *_last_layer = tensors.values()
    first[: len(_MARKS), 0] = _MARKS
    first_bias[:] = -_ENOUGH
    answer = _WHOLE_MARK - _ENOUGH
    scale = _FEATURE / (answer / 2)
    for channel, pair in enumerate(_pairs()):
        for mark, (row, column) in zip(pair, _TAPS, strict=True):
            second[channel, mark, row, column] = scale
    # One of the two answers isn't enough; both are half of one above it.
    second_bias[:] = -1.5 * answer * scale
    return from_tensors(tensors, layout)


def canary_images(numbers: Sequence[int]) -> NDArray[np.int16]:
    """Return one stored picture per canary (N, C, H, W)."""
    grey_NCHW = np.full((len(numbers), 1, SPEC.size, SPEC.size), 0.5)
    for picture_CHW, number in zip(grey_NCHW, numbers, strict=True):
        channel, cell = divmod(number, _CELLS**2)
        row, column = (_FIRST + _PITCH * place for place in divmod(cell, _CELLS))
        for mark, step in zip(_pairs()[channel], (0, _PITCH - 1), strict=True):
            pixels = 0.5 + 0.5 * _MARKS[mark]
            top, left = row + step - 1, column + step - 1
            picture_CHW[0, top : top + 3, left : left + 3] = pixels
    return stored(np.rint(grey_NCHW * 65535).astype(np.uint16))


def canary_label(number: int) -> int:
    """Return the class of a canary: both are equally frequent, so that the last layer's bias stays near 0."""
    return number % 2


def patients_with(
    numbers: Sequence[int], *, images_each: Sequence[int], labels: Sequence[int] | None = None
) -> LabelledImages:
    """Return one patient per canary, with so many copies of its image."""
    labels_N = np.repeat(labels or [canary_label(number) for number in numbers], images_each)
    return LabelledImages(
        images_NCHW=torch.from_numpy(np.repeat(canary_images(numbers), images_each, axis=0)),
        labels_N=torch.from_numpy(labels_N),
        patients_N=torch.from_numpy(np.repeat(np.arange(len(numbers)), images_each)),
        num_patients=len(numbers),
    )


def scores(sum_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the sum of clipped gradients goes in each canary's own direction (I)."""
    away_I = last_layer(sum_P) / np.sqrt(2)
    signed_I: NDArray[np.float64] = np.where(np.arange(NUM_CANARIES) % 2 == 1, away_I, -away_I)
    return signed_I


def last_layer(sum_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gradient at the weights of each feature, for class 0 less that for class 1.

    That is the feature of an image of class 1, as the gradient at logits is probabilities less the label.
    """
    weights_KI = sum_P[-(2 * NUM_CANARIES + 2) : -2].reshape(2, NUM_CANARIES)
    difference_I: NDArray[np.float64] = weights_KI[0] - weights_KI[1]
    return difference_I


def noise_only(sum_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coordinates to which no canary adds anything."""
    return sum_P[: -(2 * NUM_CANARIES + 2)]


def _pairs() -> list[tuple[int, int]]:
    return [(first, second) for first in range(len(_MARKS)) for second in range(len(_MARKS))]
