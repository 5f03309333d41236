"""Real files of every kind have the pixels that independent decoders find, or a reason."""

from collections import Counter

import pytest
from tests.client.reading.compare_samples import SAMPLES, Comparison, comparisons
from tests.client.reading.independent import MISSING

pytestmark = [
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of real files isn't here"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

# DCMTK rounds the colours of uncompressed YBR_FULL in fixed point; the standard's formula says ours.
ROUNDED = {"rob_3c9f4b_SC_ybr_full_uncompressed.dcm": 2}
# DCMTK leaves the modality table to the display, we apply it; test_shown_samples.py compares what it shows.
ALONE = {"rob_9c65b3_mlut_18.dcm"}
NO_IMAGES = {
    "SOPClassUID must be an image class": 19,
    "the report names frames or segments of an image, not the image": 1,
    "SOPInstanceUID is missing": 1,
    "damaged, or no DICOM file (InvalidDicomError)": 1,
}


@pytest.fixture(scope="module")
def compared() -> list[Comparison]:
    return list(comparisons())


def test_every_image_has_the_pixels_that_another_decoder_finds(compared: list[Comparison]) -> None:
    differing = {row.file: row.difference or row.why for row in compared if row.verdict == "differ"}
    assert differing == ROUNDED
    assert {row.file for row in compared if row.verdict == "alone"} == ALONE
    assert Counter(row.verdict for row in compared)["agree"] == 128


def test_what_is_no_image_has_a_reason(compared: list[Comparison]) -> None:
    assert Counter(row.why for row in compared if row.verdict == "quarantined") == NO_IMAGES


def test_jpeg_of_12_bits_is_read(compared: list[Comparison]) -> None:
    extended = [row for row in compared if row.syntax.startswith("JPEG Extended")]
    assert len(extended) == 9
    assert {row.verdict for row in extended} == {"agree"}
