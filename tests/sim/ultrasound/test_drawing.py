"""What is drawn is what was asked for: where it says a lesion is, it is dark, and shadows lie behind it."""

import numpy as np
import pytest

from fed_common.seeds import stream
from fed_sim.ultrasound.drawing import KINDS, MASK_SIDE, SIDE, TRAITS, Drawing, Kind, draw, draw_any


def drawn(kind: Kind, count: int = 60) -> list[Drawing]:
    rng = stream(1, f"tests/{kind}")
    return [draw(rng, kind) for _ in range(count)]


def trait(drawing: Drawing, name: str) -> float:
    return drawing.traits[TRAITS.index(name)]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_grey_and_masks_are_where_lesions_are(kind: Kind) -> None:
    for drawing in drawn(kind):
        assert drawing.picture_HW.shape == (SIDE, SIDE)
        assert drawing.mask_hw.shape == (MASK_SIDE, MASK_SIDE)
        assert 0 <= drawing.picture_HW.min() < drawing.picture_HW.max() <= 1
        assert len(drawing.traits) == len(TRAITS)
        assert bool(drawing.mask_hw.max() > 0.05) == (kind != "normal")


def test_a_cyst_is_darker_than_what_is_around_it() -> None:
    darker = 0
    for drawing in drawn("cyst"):
        picture_hw = drawing.picture_HW.reshape(MASK_SIDE, 2, MASK_SIDE, 2).mean(axis=(1, 3))
        inside = np.average(picture_hw, weights=drawing.mask_hw)
        darker += bool(inside < 0.8 * np.average(picture_hw, weights=1 - drawing.mask_hw))
    assert darker >= 50


def test_malignant_masses_are_larger_rougher_softer_taller_and_cast_shadows() -> None:
    malignant, solid = drawn("malignant", 200), drawn("solid", 200)

    for name in ("width", "log aspect", "roughness", "softness", "darkness"):
        means = [np.mean([trait(drawing, name) for drawing in some]) for some in (malignant, solid)]
        assert means[0] > means[1], name
    shadows = [sum(trait(drawing, "behind") < 0 for drawing in some) for some in (malignant, solid)]
    assert shadows[0] > 2 * shadows[1]


def test_a_shadow_is_dark_and_an_echo_is_bright_behind_a_lesion() -> None:
    below: dict[float, list[float]] = {-1.0: [], 1.0: []}
    for drawing in drawn("malignant", 300):
        if (behind := trait(drawing, "behind")) and trait(drawing, "width") < 0.3:
            shares_w = drawing.mask_hw.sum(axis=0)
            columns = shares_w > 0.5 * shares_w.max()
            bottom_W = drawing.picture_HW[-SIDE // 4 :].mean(axis=0).reshape(MASK_SIDE, 2).mean(axis=1)
            if columns.any() and not columns.all():
                below[behind].append(bottom_W[columns].mean() / (bottom_W[~columns].mean() + 1e-3))

    assert np.median(below[-1.0]) < 0.8
    assert np.median(below[1.0]) > 1.2


def test_equal_seeds_make_equal_drawings_and_all_kinds_come() -> None:
    once, again, other = (
        [draw_any(rng) for _ in range(40)] for rng in (stream(seed, "drawings") for seed in (1, 1, 2))
    )

    for one, same in zip(once, again, strict=True):
        np.testing.assert_array_equal(one.picture_HW, same.picture_HW)
    assert {drawing.kind for drawing in once} == set(KINDS)
    assert not np.array_equal(once[0].picture_HW, other[0].picture_HW)
