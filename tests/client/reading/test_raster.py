"""Pictures of research collections are read like DICOM files, and say nothing of a person."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fed_client.images import SourceImage
from fed_client.reading import raster
from fed_client.reading.raster import is_raster, read_raster
from fed_common.errors import UnreadableImageError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def saved(folder: Path, picture: Image.Image, name: str = "a.png", **options: Any) -> SourceImage:
    picture.save(folder / name, **options)
    (image,) = read_raster(folder / name)
    return image


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_stays_grey(tmp_path: Path, mode: str) -> None:
    assert saved(tmp_path, Image.fromarray(GREY).convert(mode)).stored_HW.shape == (6, 8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_stays_colour(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(np.stack([GREY] * 3, axis=2)).convert(mode)
    assert saved(tmp_path, picture).stored_HW.shape == (6, 8, 3)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    picture.putpixel((0, 0), (255, 255, 255, 0))
    assert saved(tmp_path, picture).stored_HW.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    image = saved(tmp_path, Image.fromarray(GREY.astype(np.uint16) * 1000))
    assert image.stored_HW.dtype == np.uint16
    assert image.stored_HW.max() == 47000


def test_a_camera_held_upright_gives_an_upright_picture_and_no_other_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "CANARY7341"  # orientation, artist
    image = saved(tmp_path, Image.fromarray(GREY), "a.jpg", exif=exif)
    assert image.stored_HW.shape == (8, 6)
    assert "CANARY7341" not in repr(vars(image.facts))
    assert image.facts.patient_id == ""


def test_equal_pictures_have_equal_digests(tmp_path: Path) -> None:
    one = saved(tmp_path, Image.fromarray(GREY), "a.png")
    same = saved(tmp_path, Image.fromarray(GREY), "b.png")
    assert one.facts.pixels == same.facts.pixels


def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raster, "MAX_PIXELS", 40)
    with pytest.raises(UnreadableImageError, match="at most 40 pixels"):
        saved(tmp_path, Image.fromarray(GREY))


@pytest.mark.parametrize("contents", [b"nothing", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a" + b"\0" * 40])
def test_what_is_no_picture_has_a_reason(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a.png").write_bytes(contents)
    with pytest.raises(UnreadableImageError, match="damaged, or no picture"):
        list(read_raster(tmp_path / "a.png"))


def test_pictures_are_told_by_their_name() -> None:
    assert [is_raster(Path(name)) for name in ("a.PNG", "b.jpeg", "c.dcm", "d")] == [True, True, False, False]
