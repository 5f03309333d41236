"""The same picture is found however it was saved; other pictures, which look alike, are not."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fed_client.dataset import duplicates
from fed_client.dataset.duplicates import find_near_copies, groups_across, look

SHARED_DATA = Path(__file__).parents[4] / "shared" / "data"
NIH = SHARED_DATA / "nih_cxr1000"

Picture = NDArray[np.uint8]


def prepared(picture: Picture, size: int = 32) -> NDArray[np.uint16]:
    small = Image.fromarray(picture).resize((size, size), Image.Resampling.BOX)
    return (np.asarray(small).astype(np.uint16) * 257)[None]


def body(seed: int) -> Picture:
    """Return a smooth picture with some detail."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8))
    return np.asarray(rough.resize((64, 64), Image.Resampling.BICUBIC))


def near(pictures: list[NDArray[np.uint16]]) -> list[list[int]]:
    looks = np.array([look(picture) for picture in pictures], dtype=np.uint64)
    pairs: list[list[int]] = find_near_copies(looks, lambda row: pictures[row]).pairs_P2.tolist()
    return pairs


def as_jpeg(picture: Picture) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(stream))


def brighter(picture: Picture) -> Picture:
    return (255 * (picture / 255) ** 0.8).astype(np.uint8)


def smaller(picture: Picture) -> Picture:
    height, width = picture.shape
    return np.asarray(
        Image.fromarray(picture).resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BOX)
    )


@pytest.mark.parametrize("change", [as_jpeg, brighter, smaller])
def test_a_copy_saved_differently_is_found(change: object) -> None:
    assert callable(change)
    others = [prepared(body(seed)) for seed in range(1, 8)]
    assert near([prepared(body(0)), *others, prepared(change(body(0)))]) == [[0, 8]]


def test_a_picture_without_detail_is_a_copy_of_nothing() -> None:
    flat = np.full((1, 16, 16), 777, dtype=np.uint16)
    assert near([flat, flat]) == []


def test_too_many_candidates_are_said_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_CANDIDATES", 3)
    pictures = [prepared(body(0))] * 5
    looks = np.array([look(picture) for picture in pictures], dtype=np.uint64)
    found = find_near_copies(looks, lambda row: pictures[row])
    assert not found.complete


def test_groups_on_several_sides_are_counted() -> None:
    groups = np.array([b"a", b"a", b"b", b"b", b"c", b"a"])
    assert groups_across(groups, np.array([1, 2, 1, 1, 3, 2])) == 1
    assert groups_across(groups[:0], np.array([])) == 0


@pytest.mark.skipif(not NIH.is_dir(), reason="shared/data/nih_cxr1000 is not here")
def test_chest_x_rays_of_different_patients_are_no_copies_and_copies_are() -> None:
    pictures = np.load(NIH / "images.npz")["images"]
    with (NIH / "index.csv").open() as file:
        patients = [row["patient"] for row in csv.DictReader(file)]
    originals = [prepared(picture) for picture in pictures]
    pairs = near([*originals, *(prepared(as_jpeg(picture)) for picture in pictures[:100])])
    false = [(a, b) for a, b in pairs if b < 1000 and patients[a] != patients[b]]
    found = {b - 1000 for a, b in pairs if a == b - 1000}
    assert (false, len(found)) == ([], 100)
