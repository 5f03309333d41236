"""Reads PNG and JPEG pictures of research collections, which say nothing of a patient or a unit."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fed_client.images import ImageFacts, SourceImage
from fed_client.reading.bounds import MAX_PIXELS
from fed_client.reading.dicom import mapped
from fed_client.reading.facts import digest_of_pixels
from fed_client.reading.terms import RASTER_MODALITY
from fed_client.window import Window
from fed_common.errors import UnreadableImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})

# What Pillow 12 and 13 raise on damaged files; a broken PNG is a SyntaxError, a bomb a warning.
_DAMAGE_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_FORMAT_ERRORS = (EOFError, OSError, SyntaxError, Warning, struct.error, zlib.error)


def is_raster(path: Path) -> bool:
    """Tell by its name whether a file is a picture without a header."""
    return path.suffix.lower() in SUFFIXES


def read_raster(path: Path) -> Iterator[SourceImage]:
    """Yield the one picture of the file, turned as its camera meant it; no other metadata is looked at.

    Grey of 16 bits stays as it is, colours come in 8 bits, what is transparent in black.

    Raises:
        UnreadableImageError: it is no picture, or too large.
    """
    with mapped(path) as contents, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with Image.open(io.BytesIO(contents), formats=("PNG", "JPEG")) as picture:
                stored_HW, kind = _decoded(picture), str(picture.format).lower()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _too_large() from None
        except (*_DAMAGE_ERRORS, *_FORMAT_ERRORS) as error:
            # `from None`: the foreign message could quote the file.
            raise UnreadableImageError(f"damaged, or no picture ({type(error).__name__})") from None
    yield _described(stored_HW, kind)


def _decoded(picture: Image.Image) -> NDArray[Any]:
    """Return grey of 8 or 16 bits or RGB, once the size that the file states is bearable."""
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large()
    upright = ImageOps.exif_transpose(picture)
    match upright.mode:
        case "L" | "I;16" | "RGB":
            return np.asarray(upright)
        case "1":
            return np.asarray(upright.convert("L"))
        case "LA" | "La":
            return np.asarray(_on_black(upright.convert("RGBA")).convert("L"))
        case "P" | "PA" | "RGBA" | "RGBa":
            return np.asarray(_on_black(upright.convert("RGBA")))
        case _:
            return np.asarray(upright.convert("RGB"))


def _too_large() -> UnreadableImageError:
    return UnreadableImageError(f"the picture must have at most {MAX_PIXELS} pixels")


def _on_black(picture: Image.Image) -> Image.Image:
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, picture).convert("RGB")


def _described(stored_HW: NDArray[Any], kind: str) -> SourceImage:
    white = 65535 if stored_HW.dtype == np.uint16 else 255
    pixels = digest_of_pixels(stored_HW)
    return SourceImage(
        stored_HW=stored_HW,
        slope=1.0,
        intercept=0.0,
        voi=Window(centre=white / 2, width=white, function="LINEAR_EXACT"),
        windows={},
        inverted=False,
        facts=ImageFacts(
            patient_id="",
            issuer_of_patient_id="",
            # The picture itself is all that tells it from others.
            sop_instance_uid=pixels,
            series_instance_uid="",
            study_instance_uid="",
            study_date="",
            frame=0,
            num_frames=1,
            modality=RASTER_MODALITY,
            view="",
            body_part="",
            transfer_syntax=kind,
            photometric="RGB" if stored_HW.ndim == 3 else "MONOCHROME2",
            rows=stored_HW.shape[0],
            columns=stored_HW.shape[1],
            bits_stored=8 * stored_HW.dtype.itemsize,
            burned_in_annotation="",
            recognizable_features="",
            codes=(),
            pixels=pixels,
        ),
    )
