"""Views show the same picture in other places, and there are as many as plans allow."""

import pytest
import torch

from fed_common.errors import ConfigError
from fed_common.plans import MAX_VIEWS, DpTerms, TrainTerms
from fed_common.views import views_of


def terms(views: int) -> TrainTerms:
    dp = DpTerms(noise_multiplier=1, clip_norm=1, sampling_rate=1, steps=1, max_images_per_patient=1)
    return TrainTerms(dp=dp, learning_rate=1, momentum=0, update_clip=1, views=views)


def test_the_first_view_is_the_image_the_second_its_mirror_image_and_no_two_are_the_same() -> None:
    images_NCHW = torch.rand(2, 3, 32, 32)
    views_NVCHW = views_of(images_NCHW, MAX_VIEWS)

    assert torch.equal(views_NVCHW[:, 0], images_NCHW)
    assert torch.equal(views_NVCHW[:, 1], images_NCHW.flip(-1))
    assert views_NVCHW.shape == (2, MAX_VIEWS, 3, 32, 32)
    assert len({view.numpy().tobytes() for view in views_NVCHW[0]}) == MAX_VIEWS


def test_a_moved_view_is_the_picture_two_pixels_further_with_its_border_going_on() -> None:
    images_NCHW = torch.rand(1, 1, 32, 32)
    moved_HW = views_of(images_NCHW, 3)[0, 2, 0]

    assert torch.equal(moved_HW[2:, 2:], images_NCHW[0, 0, :-2, :-2])
    assert torch.equal(moved_HW[0, 2:], images_NCHW[0, 0, 0, :-2])


@pytest.mark.parametrize("views", [0, MAX_VIEWS + 1])
def test_plans_ask_for_no_other_number_of_views(views: int) -> None:
    assert terms(MAX_VIEWS).views == MAX_VIEWS
    with pytest.raises(ConfigError, match="views"):
        terms(views)
