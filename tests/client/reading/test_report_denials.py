"""What a report denies or doubts is never a finding."""

import pytest
from tests.client.reading.report_files import (
    ABSENT,
    BOTH,
    CALCIFICATION,
    EVALUATIONS,
    FINDING,
    GROUP,
    LUNG,
    MASS,
    NODULE,
    NORMAL,
    PNEUMONIA,
    PRESENCE,
    PRESENT,
    SITE,
    UNDETERMINED,
    by_reference,
    code,
    container,
    image,
    item,
    refusal,
    report,
    said,
)

NEGATIONS = {
    "answer absent": code(PNEUMONIA, ABSENT),
    "answer no": code(PNEUMONIA, "SCT:373067005"),
    "answer negative": code(PNEUMONIA, "SCT:260385009"),
    "value absent": code(FINDING, ABSENT),
    "modifier absent": code(FINDING, PNEUMONIA, code("99X:1", ABSENT, relationship="HAS CONCEPT MOD")),
    "modifier absent, SNOMED RT": code(
        FINDING, PNEUMONIA, code("99X:1", "SRT:R-4089B", relationship="HAS CONCEPT MOD")
    ),
    "modifier absent, the other code": code(
        FINDING, PNEUMONIA, code("99X:1", "SCT:2667000", relationship="HAS CONCEPT MOD")
    ),
    "presence absent": code(FINDING, PNEUMONIA, code(PRESENCE, ABSENT, relationship="HAS PROPERTIES")),
    "context known absent": code(
        FINDING, PNEUMONIA, code("SCT:408729009", "SCT:410516002", relationship="HAS PROPERTIES")
    ),
    "group absent": container(GROUP, code(FINDING, PNEUMONIA), code(PRESENCE, ABSENT)),
    "properties of what is absent": code(
        FINDING,
        MASS,
        code(PRESENCE, ABSENT, relationship="HAS PROPERTIES"),
        code(FINDING, PNEUMONIA, relationship="HAS PROPERTIES"),
    ),
}


@pytest.mark.parametrize("name", NEGATIONS)
def test_what_is_absent_is_no_finding_and_the_rest_of_the_report_counts(name: str) -> None:
    assert said(report(NEGATIONS[name], code(FINDING, NODULE))) == {NODULE: BOTH}


ELSEWHERE = ["LN:18834-2", "LN:11329-0", "LN:18785-6", "LN:55115-0", "LN:18783-1", "LN:55752-0", "DCM:111023"]


@pytest.mark.parametrize("heading", [*ELSEWHERE, "DCM:121068", "DCM:121060", "DCM:121109", "DCM:121062"])
def test_the_past_the_request_and_the_advice_are_no_findings(heading: str) -> None:
    section = container(heading, code(FINDING, PNEUMONIA), code(PNEUMONIA, PRESENT))
    assert said(report(section, code(FINDING, NODULE))) == {NODULE: BOTH}


@pytest.mark.parametrize("concept", ["DCM:121069", "DCM:121075", "DCM:121058", "DCM:121139"])
def test_other_elements_are_no_findings(concept: str) -> None:
    assert said(report(code(concept, PNEUMONIA))) == {}


def test_a_question_under_an_unknown_heading_is_no_finding() -> None:
    assert said(report(container("99X:ANAMNESIS", code(PNEUMONIA, PRESENT)))) == {}


def test_context_and_modifiers_are_no_findings() -> None:
    context = code(FINDING, PNEUMONIA, relationship="HAS OBS CONTEXT")
    modifier = code(FINDING, PNEUMONIA, relationship="HAS CONCEPT MOD")
    assert said(report(context, modifier, code(FINDING, NODULE))) == {NODULE: BOTH}


def test_a_normal_part_is_no_normal_image() -> None:
    site = code(SITE, LUNG, relationship="HAS CONCEPT MOD")
    group = container(GROUP, code(FINDING, NORMAL), site)
    assert said(report(code(FINDING, NORMAL, site), group)) == {}
    assert said(report(code(FINDING, NODULE, site))) == {NODULE: BOTH}
    assert said(report(code(FINDING, NORMAL))) == {NORMAL: BOTH}


UNCERTAIN = {
    "value": code(FINDING, UNDETERMINED),
    "answer": code(PNEUMONIA, UNDETERMINED),
    "evaluation": container(EVALUATIONS, code(PNEUMONIA, "SCT:415684004")),
    "modifier": code(FINDING, PNEUMONIA, code("99X:1", "SCT:42425007", relationship="HAS CONCEPT MOD")),
    "property": code(FINDING, NODULE, code(CALCIFICATION, ABSENT, relationship="HAS PROPERTIES")),
    "presence in other words": code(
        FINDING, NODULE, code(PRESENCE, "99X:RATHER-NOT", relationship="HAS PROPERTIES")
    ),
    "certainty in percent": code(FINDING, NODULE, item("NUM", "HAS PROPERTIES", "DCM:111012")),
    "group": container(GROUP, code(FINDING, NODULE), code(PRESENCE, UNDETERMINED)),
    "elsewhere": container(
        "LN:59776-5",
        code(FINDING, NODULE, by_reference(1, 2, 2, relationship="HAS PROPERTIES")),
        code(PRESENCE, UNDETERMINED),
    ),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_doubt_makes_the_whole_report_unusable(name: str) -> None:
    dataset = report(code(FINDING, MASS), UNCERTAIN[name])
    assert refusal(dataset) == "the report is not certain of a finding"


OUT_OF_REACH = {
    "words": (
        code(FINDING, NODULE, item("TEXT", "HAS CONCEPT MOD", "99X:1")),
        "qualifies a finding in words",
    ),
    "a frame": (code(FINDING, NODULE, image("1.1", frame=3)), "names frames or segments"),
    "space": (code(FINDING, NODULE, item("SCOORD3D", "INFERRED FROM", "")), "places a finding in space"),
    "a volume": (
        container(GROUP, code(FINDING, NODULE), item("SCOORD3D", "CONTAINS", "DCM:111030")),
        "places a finding in space",
    ),
    "nowhere": (code(FINDING, NODULE, by_reference(1, 9)), "points to an item that it doesn't have"),
    "before the first": (code(FINDING, NODULE, by_reference(1, 0)), "points to an item that it doesn't have"),
    "no UID": (code(FINDING, NODULE, image("CANARY7341")), "ReferencedSOPInstanceUID must be a UID"),
}


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_what_a_label_cant_express_is_refused(name: str) -> None:
    statement, reason = OUT_OF_REACH[name]
    refused = refusal(report(code(FINDING, MASS), statement))
    assert reason in refused
    assert "CANARY" not in refused
