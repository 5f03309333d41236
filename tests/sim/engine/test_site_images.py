"""Virtual sites' images: the same for equal seeds, and no memory for who doesn't train."""

import resource

import torch

from fed_client.dataset import LabelledImages
from fed_sim.engine.site_images import DrawnImages, drawn_test_set


def test_equal_seeds_draw_equal_images_in_whatever_order_sites_train() -> None:
    one, other = (DrawnImages(sites=3, images=4, seed=1) for _ in range(2))
    other.of(0)

    assert _same(one.of(2), other.of(2)) and _same(one.of(2), one.of(2))
    assert not _same(one.of(0), one.of(2))
    assert not _same(DrawnImages(sites=3, images=4, seed=2).of(2), one.of(2))


def test_sites_that_do_not_train_take_no_memory() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    images = DrawnImages(sites=20_000, images=64, seed=1)  # 2.6 GB, if all trained
    images.of(12_345)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 64 * 1024


def test_images_are_inputs_with_both_classes_at_every_scanner() -> None:
    test_set = drawn_test_set(images=60, seed=1)

    for scanner in range(6):
        of_scanner_NCHW = test_set.images_NCHW[scanner::6]
        assert of_scanner_NCHW.abs().max() <= 2 and of_scanner_NCHW.std() > 0.2
        assert set(test_set.labels_N[scanner::6].tolist()) == {0, 1}


def _same(one: LabelledImages, other: LabelledImages) -> bool:
    return torch.equal(one.images_NCHW, other.images_NCHW) and torch.equal(one.labels_N, other.labels_N)
