"""Codes as files write them, brought to the one form SCHEME:VALUE; what can't be one doesn't exist."""

from collections.abc import Iterator

from pydicom import Dataset, Sequence
from pydicom.sr._snomed_dict import mapping

from fed_client.reading.bounds import MAX_CODES
from fed_common.task import CODE

# Three names of SNOMED's older, alphanumeric identifiers. Source: DICOM PS3.16 8.1 and annex O.
_SNOMED_RT = frozenset({"SRT", "SNM3", "99SDM"})

# What a header says about a disease: the diagnosis with which the patient was admitted, (0008,1084), is the
# only one of the image modules. The reasons for a visit or a procedure, (0032,1067), (0040,100A) and
# (0040,1012), are questions, not answers; (0040,0555) tells under which conditions, and (0008,2218) of
# which organ, the image was taken.
CODED_FINDINGS = ("AdmittingDiagnosesCodeSequence",)


def coded_findings(header: Dataset) -> tuple[str, ...]:
    """Return what `CODED_FINDINGS` of an image's header say, sorted; at most `MAX_CODES` are read."""
    found: set[str] = set()
    for keyword in CODED_FINDINGS:
        items = items_of(header, keyword)
        found.update(filter(None, (_code(item) for item, _ in zip(items, range(MAX_CODES), strict=False))))
    return tuple(sorted(found))


def first_code(parent: Dataset, keyword: str) -> str:
    """Return the code in a sequence of one item, empty if there is none."""
    return next((_code(item) for item in items_of(parent, keyword)), "")


def items_of(parent: Dataset, keyword: str) -> Iterator[Dataset]:
    """Yield the items of a sequence, none if it is missing or no sequence."""
    value = parent.get(keyword)
    if isinstance(value, Sequence):
        yield from value


def text_of(parent: Dataset, keyword: str) -> str:
    """Return a single text, empty if it is missing or something else."""
    value = parent.get(keyword)
    return value.strip() if isinstance(value, str) else ""


def _code(item: Dataset) -> str:
    """Return an item of a code sequence, in SNOMED CT if it is in SNOMED RT and has a successor.

    Source: DICOM PS3.3 8.1 and 8.2 (code value, long code value), PS3.16 annex O (SNOMED RT to CT).
    """
    scheme = text_of(item, "CodingSchemeDesignator")
    value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue")
    if scheme in _SNOMED_RT:
        scheme, value = ("SCT", mapping["SRT"][value]) if value in mapping["SRT"] else ("SRT", value)
    code = f"{scheme}:{value}"  # its meaning, which is free text, is never read
    return code if CODE.fullmatch(code) else ""
