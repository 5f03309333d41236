"""What is said of a picture: whose it is as the file says it, what it shows in known words only."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.sr._concepts_dict import concepts
from tests.client.dicom_files import RAMP, Pixels, image_dataset
from tests.client.reading.dicom_files import CANARY, read

from fed_client.reading.anatomy import PART_OF_CODE
from fed_client.reading.terms import MODALITY_OF_CLASS, VIEW_OF_CODE, VIEWS


def code(value: str, scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, CANARY
    return item


def test_only_known_words_come_out_of_a_header(tmp_path: Path) -> None:
    known = read(tmp_path, image_dataset(ViewPosition="PA", BodyPartExamined="CHEST", Modality=CANARY)).facts
    unknown = read(tmp_path, image_dataset(ViewPosition=CANARY, BodyPartExamined=CANARY)).facts
    assert (known.view, known.body_part, known.modality) == ("PA", "CHEST", "CR")
    assert (unknown.view, unknown.body_part) == ("", "")


def test_a_view_is_also_known_by_its_code(tmp_path: Path) -> None:
    dataset = image_dataset(ViewCodeSequence=[code("R-10226", "SRT")], ViewPosition=CANARY)
    dataset.SOPClassUID = uid.DigitalMammographyXRayImageStorageForPresentation
    facts = read(tmp_path, dataset).facts
    assert (facts.modality, facts.view) == ("MG", "MLO")


def test_a_body_part_is_also_known_by_its_code(tmp_path: Path) -> None:
    assert read(tmp_path, image_dataset(AnatomicRegionSequence=[code("72696002")])).facts.body_part == "KNEE"
    assert read(tmp_path, image_dataset(AnatomicRegionSequence=[code(CANARY)])).facts.body_part == ""


def test_the_head_in_an_enhanced_volume_is_known(tmp_path: Path) -> None:
    anatomy, groups = Dataset(), Dataset()
    anatomy.AnatomicRegionSequence = [code("69536005")]
    groups.FrameAnatomySequence = [anatomy]
    dataset = image_dataset(SharedFunctionalGroupsSequence=[groups])
    dataset.SOPClassUID = uid.EnhancedMRImageStorage
    assert read(tmp_path, dataset).facts.body_part == "HEAD"


@pytest.mark.parametrize(
    ("term", "part"),
    [
        ("Head", "HEAD"),
        ("C-SPINE", "CSPINE"),
        ("SINUS", "FACE"),
        ("WHOLE BODY", "WHOLEBODY"),
        ("THORAX", "CHEST"),
    ],
)
def test_habits_of_scanners_are_understood(tmp_path: Path, term: str, part: str) -> None:
    assert read(tmp_path, image_dataset(BodyPartExamined=term)).facts.body_part == part


def test_a_head_is_a_head_if_term_and_code_disagree(tmp_path: Path) -> None:
    dataset = image_dataset(BodyPartExamined="CHEST", AnatomicRegionSequence=[code("12738006")])
    assert read(tmp_path, dataset).facts.body_part == "BRAIN"


def meanings(value: str) -> set[str]:
    """Return what pydicom's copy of PS3.16 says that a SNOMED code means."""
    scheme: dict[str, dict[str, tuple[str, list[int]]]] = concepts["SCT"]  # type: ignore[assignment]
    return {
        meaning.lower()
        for codes in scheme.values()
        for known, (meaning, _contexts) in codes.items()
        if known == value
    }


def test_codes_of_views_mean_these_views() -> None:
    initials = {
        "AP": "antero-posterior",
        "PA": "postero-anterior",
        "CC": "cranio-caudal",
        "LATERAL": "lateral",
    }
    initials |= {"MLO": "medio-lateral oblique", "LMO": "latero-medial oblique", "LL": "left lateral"}
    initials |= {"RL": "right lateral", "OBLIQUE": "oblique", "ML": "medial-lateral", "LM": "latero-medial"}
    initials |= {"XCCL": "cranio-caudal exaggerated laterally", "XCCM": "cranio-caudal exaggerated medially"}
    initials |= {"SIO": "superolateral to inferomedial oblique"}
    assert set(VIEW_OF_CODE.values()) == set(initials) <= VIEWS
    for scheme_and_value, view in VIEW_OF_CODE.items():
        assert initials[view] in meanings(scheme_and_value.removeprefix("SCT:")), view


# Codes that older files use and PS3.16 has replaced: CP 2064 and others.
REPLACED = {"113345001", "51185008", "76248009", "12921003"}


def test_codes_of_body_parts_exist_once() -> None:
    values = [code.removeprefix("SCT:") for code in PART_OF_CODE]
    assert {value for value in values if not meanings(value)} <= REPLACED


def test_every_class_that_is_read_is_an_image_class() -> None:
    names = {uid.UID(known).name for known in MODALITY_OF_CLASS}
    assert all(
        "Storage" in name and ("Image" in name or "Volume" in name or "Photography" in name) for name in names
    )


def test_equal_pixels_have_equal_digests_whatever_their_encoding(tmp_path: Path) -> None:
    plain = read(tmp_path, image_dataset())
    big = read(tmp_path, image_dataset(PixelData=RAMP.astype(">u2").tobytes()), uid.ExplicitVRBigEndian)
    other = read(tmp_path, image_dataset(RAMP + np.uint16(1)))
    assert plain.facts.pixels == big.facts.pixels != other.facts.pixels


def test_the_digest_is_of_shape_type_and_values(tmp_path: Path) -> None:
    shapes: list[Pixels] = [RAMP, RAMP.reshape(4, 3), RAMP.astype(np.int16)]
    assert len({read(tmp_path, image_dataset(pixels)).facts.pixels for pixels in shapes}) == 3
