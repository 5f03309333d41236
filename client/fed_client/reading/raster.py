"""Reads PNG and JPEG pictures of research collections, which say nothing of a patient or a unit."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fed_client.images import ImageFacts, SourceImage
from fed_client.reading.dicom import MAX_PIXELS, digest_of_pixels, mapped
from fed_client.reading.terms import RASTER_MODALITY
from fed_client.window import Window
from fed_common.errors import UnreadableImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def is_raster(path: Path) -> bool:
    """Tell by its name whether a file is a picture without a header."""
    return path.suffix.lower() in SUFFIXES


def read_raster(path: Path) -> Iterator[SourceImage]:
    """Yield the one picture of the file, turned as its camera meant it; no other metadata is looked at.

    Colours stay, palettes and transparency go; grey of 16 bits stays as it is.

    Raises:
        UnreadableImageError: it is no picture, or too large.
    """
    with mapped(path) as contents, warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of bombs
        try:
            with Image.open(io.BytesIO(contents), formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise UnreadableImageError(f"the picture must have at most {MAX_PIXELS} pixels")
                kind = str(picture.format).lower()
                stored_HW = np.asarray(_plain(ImageOps.exif_transpose(picture)))
        except (OSError, SyntaxError, ValueError, TypeError, Warning, Image.DecompressionBombError) as error:
            raise UnreadableImageError(f"damaged, or no picture ({type(error).__name__})") from None
    white = 65535 if stored_HW.dtype == np.uint16 else 255
    yield SourceImage(
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
            sop_instance_uid=digest_of_pixels(stored_HW),
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
            pixels=digest_of_pixels(stored_HW),
        ),
    )


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture in grey of 8 or 16 bits, or in RGB."""
    if picture.mode in ("L", "I;16", "RGB"):
        return picture
    if picture.mode in ("1", "LA", "La"):
        return picture.convert("L")
    if picture.mode in ("I", "F"):
        raise UnreadableImageError("grey pictures must have 8 or 16 bits")
    return picture.convert("RGB")
