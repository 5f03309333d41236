"""Reads what structured reports say of images, as codes: labels that a radiologist has written already.

A finding is taken only if it is stated to be there. What is stated to be absent is left out; what is
uncertain, past or bound to a place that a label can't express makes the whole report unreadable, because
a report of which a part is missing says something else.

    "Finding" = pneumonia                       the answer, PS3.16 TID 2002 and TID 1501
    "Pneumonia" = present                       the question, PS3.16 TID 1501, qualitative evaluations

A finding is about the images it points to; in a measurement group, about those of the group; otherwise
about all images of the procedure that was reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pydicom import Dataset, uid

from fed_client.images import Finding, ReportFlaw
from fed_client.reading import report_terms as terms
from fed_client.reading.bounds import MAX_FINDINGS
from fed_client.reading.codes import items_of, text_of
from fed_client.reading.content import ContentItem, content_tree, instance_uid
from fed_common.errors import UnreadableImageError

# The elements of a report's header that are read.
REPORT_ELEMENTS = (
    "CompletionFlag",
    "VerificationFlag",
    "PreliminaryFlag",
    "ValueType",
    "ConceptNameCodeSequence",
    "ContentSequence",
    "CurrentRequestedProcedureEvidenceSequence",
)
REPORT_CLASSES = frozenset(
    {
        uid.BasicTextSRStorage,
        uid.EnhancedSRStorage,
        uid.ComprehensiveSRStorage,
        uid.Comprehensive3DSRStorage,
        uid.ExtensibleSRStorage,
    }
)
MAX_STATEMENTS = 1000

_MODIFIERS = {"HAS CONCEPT MOD", "HAS PROPERTIES"}
_NO_STATEMENTS = {"HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"}


def read_findings(header: Dataset) -> Iterator[Finding]:
    """Yield each code that the report states, for each image it is about, once.

    Raises:
        UnreadableImageError: it is no report, too large, or says something that a label can't express.
        Exception: whatever pydicom raises on a damaged file; call it inside `header.safely`.
    """
    if header.get("SOPClassUID") not in REPORT_CLASSES:
        raise UnreadableImageError("SOPClassUID must be a report of text or measurements")
    root = content_tree(header)
    if root.kind != "CONTAINER":
        raise UnreadableImageError("the report has no content")
    evidence = tuple(dict.fromkeys(_evidence(header)))
    found: dict[tuple[str, str], None] = {}
    for number, (code, images) in enumerate(_statements(root, _Place(root=root))):
        if number >= MAX_STATEMENTS or len(found) + len(images or evidence) > MAX_FINDINGS:
            raise UnreadableImageError(f"the report has more than {MAX_FINDINGS} findings")
        found.update(dict.fromkeys((image, code) for image in images or evidence))
    flaws = tuple(_flaws(header))
    # Only now, so that a report is used whole or not at all.
    for image, code in found:
        yield Finding(sop_instance_uid=image, code=code, flaws=flaws)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Group:
    """A measurement group, whose items are about each other; what it says is looked for once."""

    item: ContentItem
    root: ContentItem

    @cached_property
    def presence(self) -> frozenset[str]:
        """Return the answers to whether its findings are there."""
        asks = (child for child in self.item.children if child.concept in terms.ASKS_PRESENCE)
        return frozenset(child.value for child in asks)

    @cached_property
    def names_site(self) -> bool:
        """Tell whether it is about a part of the body."""
        return _names_site(self.item)

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Return the images it points to."""
        return _images_below(self.item, self.root)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Place:
    """Where an item stands: under which heading, one that reports or not, and in which group, if any."""

    root: ContentItem
    heading: str = ""
    reporting: bool = True
    group: _Group | None = None

    def under(self, container: ContentItem) -> "_Place":
        """Return the place inside `container`, which stands here."""
        heading, group = container.concept, self.group
        if heading == terms.MEASUREMENT_GROUP:
            group = _Group(item=container, root=self.root)
        return _Place(root=self.root, heading=heading, reporting=heading in terms.REPORTING, group=group)


def _statements(item: ContentItem, place: _Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each code that is stated below `item`, and the images it points to, if any."""
    for child in item.children:
        if child.concept in terms.ELSEWHERE or child.relationship in _NO_STATEMENTS:
            continue
        code = _stated(child, place)
        present = not code or _is_present(child, place)
        partly = _names_site(child) or (place.group is not None and place.group.names_site)
        if code and present and not (partly and code in terms.NORMAL):
            in_group = place.group.images if place.group else ()
            yield code, _images_below(child, place.root) or in_group
        if present or child.relationship == "INFERRED FROM":
            yield from _statements(child, place.under(child) if child.kind == "CONTAINER" else place)


def _stated(item: ContentItem, place: _Place) -> str:
    """Return the code that the item states, the answer or the question, empty if none."""
    if item.kind != "CODE" or item.concept in terms.ASKS_PRESENCE:
        return ""
    answers = item.concept in terms.FINDING or place.heading == terms.QUALITATIVE_EVALUATIONS
    if item.value in terms.UNCERTAIN and (answers or place.reporting):
        raise UnreadableImageError("the report is not certain of a finding")
    if item.value in terms.PRESENT:
        return item.concept if place.reporting else ""
    return item.value if answers and item.value not in terms.ABSENT else ""


def _is_present(item: ContentItem, place: _Place) -> bool:
    """Tell whether a finding is stated to be there, by its modifiers and the group it stands in.

    Raises:
        UnreadableImageError: that is uncertain, or can't be known.
    """
    present = True
    for relationship, modifier in _linked(item, place.root):
        changes = relationship == "HAS CONCEPT MOD"
        asks = modifier.concept in terms.ASKS_PRESENCE
        if relationship not in _MODIFIERS:
            continue
        if modifier.value in terms.ABSENT and (asks or changes):
            present = False
        elif modifier.value in terms.ABSENT | terms.UNCERTAIN or (
            asks and modifier.value not in terms.PRESENT
        ):
            raise UnreadableImageError("the report is not certain of a finding")
        elif changes and modifier.kind != "CODE":
            raise UnreadableImageError("the report qualifies a finding in words")
    answers = place.group.presence if place.group else frozenset()
    if not answers <= terms.ABSENT | terms.PRESENT:
        raise UnreadableImageError("the report is not certain of a finding")
    return present and answers.isdisjoint(terms.ABSENT)


def _names_site(item: ContentItem) -> bool:
    return any(child.concept == terms.FINDING_SITE for child in item.children)


def _images_below(item: ContentItem, root: ContentItem) -> tuple[str, ...]:
    """Return the images that the items below `item` point to.

    Raises:
        UnreadableImageError: they point to less than an image, or to a place in space.
    """
    below = list(_below(item, root))
    if any(other.framed for other in below):
        raise UnreadableImageError("the report names frames or segments of an image, not the image")
    images = tuple(dict.fromkeys(other.image for other in below if other.image))
    if not images and any(other.kind in ("SCOORD3D", "COMPOSITE") for other in below):
        raise UnreadableImageError("the report places a finding in space, not in an image")
    return images


def _below(item: ContentItem, root: ContentItem) -> Iterator[ContentItem]:
    """Yield all items below `item`, each once, also those it points to elsewhere in the tree."""
    seen: set[int] = set()
    waiting = [item]
    while waiting:
        for _, child in _linked(waiting.pop(), root):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
                yield child


def _linked(item: ContentItem, root: ContentItem) -> Iterator[tuple[str, ContentItem]]:
    """Yield the children of `item` by their relationship to it; those by reference as what is meant."""
    for child in item.children:
        target = child
        if child.by_reference:
            target = root
            for number in child.by_reference[1:]:
                if not 1 <= number <= len(target.children):
                    raise UnreadableImageError("the report points to an item that it doesn't have")
                target = target.children[number - 1]
        yield child.relationship, target


def _flaws(header: Dataset) -> Iterator[ReportFlaw]:
    """Yield why the report may not be the last word; a flag that must be there and isn't says nothing good.

    Source: DICOM PS3.3 C.17.2 (SR document general module) and C.17.2.1 to C.17.2.7 (its flags).
    """
    if text_of(header, "CompletionFlag") != "COMPLETE":
        yield "partial"
    if text_of(header, "VerificationFlag") != "VERIFIED":
        yield "unverified"
    if text_of(header, "PreliminaryFlag") not in ("", "FINAL"):
        yield "preliminary"


def _evidence(header: Dataset) -> Iterator[str]:
    """Yield the instances that the report was made from. Source: DICOM PS3.3 C.17.2.2."""
    for study in items_of(header, "CurrentRequestedProcedureEvidenceSequence"):
        for series in items_of(study, "ReferencedSeriesSequence"):
            for instance in items_of(series, "ReferencedSOPSequence"):
                yield instance_uid(instance)
