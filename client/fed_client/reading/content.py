"""A structured report's content tree, small and bounded: codes and references, no text, no number.

Source: DICOM PS3.3 C.17.3 (SR document content module) and table C.18 (content macros).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from pydicom import Dataset
from pydicom.multival import MultiValue

from fed_client.reading.codes import first_code, items_of, text_of
from fed_common.errors import UnreadableImageError

# The deepest templates of PS3.16 use about ten levels, a report with all slices of a CT some thousand items.
MAX_DEPTH = 32
MAX_ITEMS = 20_000

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class ContentItem:
    """One item: `concept` is the question and `value` the answer, both as SCHEME:VALUE or empty.

    `kind` and `relationship` are DICOM's words. `image` is the UID an IMAGE item points to, `framed` tells
    that it points to some frames or segments only. An item `by_reference` stands elsewhere in the tree:
    the place among the children of each level, from the root, counted from 1.
    """

    kind: str
    relationship: str
    concept: str
    value: str
    image: str
    framed: bool
    by_reference: tuple[int, ...]
    children: tuple["ContentItem", ...]


def content_tree(header: Dataset) -> ContentItem:
    """Return the root of the report's tree.

    Raises:
        UnreadableImageError: it has too many items or levels, or a reference that is none.
    """
    return _item(header, depth=0, numbers=count())


def _item(dataset: Dataset, *, depth: int, numbers: Iterator[int]) -> ContentItem:
    if depth > MAX_DEPTH:
        raise UnreadableImageError(f"the report has more than {MAX_DEPTH} levels")
    if next(numbers) >= MAX_ITEMS:
        raise UnreadableImageError(f"the report has more than {MAX_ITEMS} items")
    kind = text_of(dataset, "ValueType")
    target = next(items_of(dataset, "ReferencedSOPSequence"), None) if kind == "IMAGE" else None
    return ContentItem(
        kind=kind,
        relationship=text_of(dataset, "RelationshipType"),
        concept=first_code(dataset, "ConceptNameCodeSequence"),
        value=first_code(dataset, "ConceptCodeSequence") if kind == "CODE" else "",
        image="" if target is None else instance_uid(target),
        framed=target is not None
        and ("ReferencedFrameNumber" in target or "ReferencedSegmentNumber" in target),
        by_reference=_place(dataset),
        children=tuple(
            _item(child, depth=depth + 1, numbers=numbers) for child in items_of(dataset, "ContentSequence")
        ),
    )


def instance_uid(reference: Dataset) -> str:
    """Return the UID of the instance that an item of a reference sequence points to.

    Raises:
        UnreadableImageError: there is none.
    """
    text = text_of(reference, "ReferencedSOPInstanceUID")
    if not _UID.fullmatch(text):
        raise UnreadableImageError("ReferencedSOPInstanceUID must be a UID")
    return text


def _place(dataset: Dataset) -> tuple[int, ...]:
    value = dataset.get("ReferencedContentItemIdentifier")
    if value is None:
        return ()
    numbers = tuple(value) if isinstance(value, MultiValue | list) else (value,)
    if len(numbers) > MAX_DEPTH + 1 or not all(isinstance(number, int) for number in numbers):
        raise UnreadableImageError("ReferencedContentItemIdentifier must be whole numbers")
    return numbers
