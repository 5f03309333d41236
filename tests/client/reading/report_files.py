"""Makes tiny structured reports about images and patients that don't exist."""

from collections.abc import Mapping

import pytest
from pydicom import Dataset, Sequence
from pydicom.config import disable_value_validation
from pydicom.uid import UID, ComprehensiveSRStorage, CTImageStorage

from fed_client.reading.reports import read_findings
from fed_common.errors import UnreadableImageError

FINDING = "DCM:121071"
IMPRESSION = "DCM:121073"
GROUP = "DCM:125007"
EVALUATIONS = "UMLS:C0034375"
PRESENT, ABSENT, UNDETERMINED = "SCT:52101004", "SCT:272519000", "SCT:373068000"
PNEUMONIA, NODULE, NORMAL = "SCT:233604007", "SCT:27925004", "SCT:17621005"
SITE, PRESENCE, LUNG = "SCT:363698007", "SCT:705057003", "SCT:39607008"
MASS, CALCIFICATION = "SCT:4147007", "SCT:54115005"
BOTH = {"1.1", "1.2"}


def coded(code: str) -> Sequence:
    """Return a code sequence of one item; a code is written SCHEME:VALUE."""
    item = Dataset()
    scheme, _, value = code.partition(":")
    with disable_value_validation():
        item.CodingSchemeDesignator = scheme
        setattr(item, "CodeValue" if len(value) <= 16 else "LongCodeValue", value)
    item.CodeMeaning = "CANARY7341"
    return Sequence([item])


def item(kind: str, relationship: str, concept: str, *children: Dataset) -> Dataset:
    """Return a content item."""
    dataset = Dataset()
    dataset.ValueType = kind
    dataset.RelationshipType = relationship
    if concept:
        dataset.ConceptNameCodeSequence = coded(concept)
    if children:
        dataset.ContentSequence = Sequence(children)
    return dataset


def code(concept: str, value: str, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    """Return an item that answers `concept` with `value`."""
    dataset = item("CODE", relationship, concept, *children)
    dataset.ConceptCodeSequence = coded(value)
    return dataset


def container(concept: str, *children: Dataset) -> Dataset:
    """Return a section or group."""
    return item("CONTAINER", "CONTAINS", concept, *children)


def image(uid: str, *, relationship: str = "INFERRED FROM", frame: int = 0) -> Dataset:
    """Return an item that points to an image."""
    dataset = item("IMAGE", relationship, "")
    dataset.ReferencedSOPSequence = Sequence([instance(uid)])
    if frame:
        dataset.ReferencedSOPSequence[0].ReferencedFrameNumber = frame
    return dataset


def by_reference(*place: int, relationship: str = "INFERRED FROM") -> Dataset:
    """Return an item that stands elsewhere in the tree."""
    dataset = Dataset()
    dataset.RelationshipType = relationship
    dataset.ReferencedContentItemIdentifier = list(place)
    return dataset


def instance(uid: str) -> Dataset:
    """Return an item of a reference sequence."""
    dataset = Dataset()
    dataset.ReferencedSOPClassUID = CTImageStorage
    with disable_value_validation():
        dataset.ReferencedSOPInstanceUID = uid
    return dataset


def report(
    *children: Dataset,
    evidence: tuple[str, ...] = ("1.1", "1.2"),
    kind: UID = ComprehensiveSRStorage,
    flags: Mapping[str, str | None] = {},
) -> Dataset:
    """Return a report of the CT images `evidence`, complete and verified unless `flags` say otherwise."""
    dataset = item("CONTAINER", "CONTAINS", "LN:18748-4", *children)
    del dataset.RelationshipType
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = "2.25.7"
    dataset.PatientID = "CANARY7341"
    for flag, value in ({"CompletionFlag": "COMPLETE", "VerificationFlag": "VERIFIED"} | dict(flags)).items():
        if value is not None:
            setattr(dataset, flag, value)
    if evidence:
        series, study = Dataset(), Dataset()
        series.ReferencedSOPSequence = Sequence([instance(uid) for uid in evidence])
        study.ReferencedSeriesSequence = Sequence([series])
        dataset.CurrentRequestedProcedureEvidenceSequence = Sequence([study])
    return dataset


def said(dataset: Dataset) -> dict[str, set[str]]:
    """Return the images of each code."""
    images: dict[str, set[str]] = {}
    for finding in read_findings(dataset):
        images.setdefault(finding.code, set()).add(finding.sop_instance_uid)
    return images


def refusal(dataset: Dataset) -> str:
    """Return why the report is refused."""
    with pytest.raises(UnreadableImageError) as caught:
        list(read_findings(dataset))
    return str(caught.value)
