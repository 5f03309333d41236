"""The report shows how sites differ, as noised counts and never without their margins."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from tests.server.journal_samples import (
    FINISHED,
    HARBOUR,
    HILLSIDE,
    LAKEVIEW,
    OLD_TOWN,
    STARTED,
    answered,
    figures_of,
    privacy_of,
    published,
)
from tests.server.page import Reader, drawings_of

from fed_common.names import SiteName
from fed_common.plans import Normalisation
from fed_server.console import ConsoleObserver
from fed_server.journal import (
    PhaseAsked,
    RoundPublished,
    RunEvent,
    SiteAnswered,
    SiteFailed,
    SiteStatistics,
    StatisticsGathered,
    encode_event,
)
from fed_server.report import render_report

GREYS = (0.3, 0.2, None, 0.45)


def row(site: SiteName | None, classes: tuple[int | None, ...], margin: int) -> SiteStatistics:
    return SiteStatistics(site=site, classes=classes, class_margin=margin, greys=GREYS, grey_margin=0.02)


GATHERED = StatisticsGathered(
    sites=(
        row(None, (1210, 402), 38),
        row(HARBOUR, (810, 390), 22),
        row(HILLSIDE, (400, None), 22),
        replace(row(LAKEVIEW, (None, None), 22), greys=(None,) * 4, grey_margin=None),
    ),
    normalisation=Normalisation(mean=0.4312, spread=0.2101),
    class_weights=(0.6667, 2.0),
    not_measured="",
)
BEFORE: tuple[RunEvent, ...] = (
    PhaseAsked(round=0, phase="statistics", attempt=1),
    SiteAnswered(round=0, phase="statistics", site=HARBOUR, privacy=privacy_of(HARBOUR, 1)),
    SiteFailed(round=0, phase="statistics", site=OLD_TOWN, code="statistics-not-allowed", detail="none"),
    SiteFailed(round=0, phase="statistics", site=HARBOUR, code="late", detail=""),
    GATHERED,
)
ROUND_1 = (PhaseAsked(round=1, phase="train", attempt=1), answered(1, HARBOUR), published(1))


def page_of(*before: RunEvent) -> str:
    return render_report((STARTED, *before, *ROUND_1), None)


def text_of(*before: RunEvent) -> str:
    return Reader(page_of(*before)).text


def test_each_sites_classes_stand_with_the_margin_of_their_noise() -> None:
    text = text_of(*BEFORE)
    assert "Patients, with noise normal pneumonia Margin" in text
    assert "all together 1210 402 ± 38 harbour 810 390 ± 22" in text
    assert "added noise before the counts left" in text


def test_what_the_noise_hides_is_called_few() -> None:
    text = text_of(*BEFORE)
    assert "hillside 400 few ± 22 lakeview few few ± 22" in text


def test_the_constants_that_all_train_with_are_told() -> None:
    text = text_of(*BEFORE)
    assert (
        "mean grey 0.4312, spread 0.2101, and as weights of the classes normal 0.67, pneumonia 2.00." in text
    )


def test_a_site_that_released_nothing_is_named_once_with_its_reason() -> None:
    assert "Took no part in this: old-town (statistics-not-allowed)." in text_of(*BEFORE)


def test_the_greys_of_each_site_are_drawn_unless_the_noise_hides_them() -> None:
    _, harbour, hillside = drawings_of(page_of(*BEFORE))
    for drawing in (harbour, hillside):
        assert "var(--federated)" in drawing and "var(--local)" in drawing
        assert "grey, from black to white" in "".join(ElementTree.fromstring(drawing).itertext())


def test_without_a_quorum_the_reason_and_the_usual_constants_are_told() -> None:
    reason = "fewer than the 3 needed sites answered"
    usual = StatisticsGathered(sites=(), normalisation=Normalisation(), class_weights=(), not_measured=reason)
    text = text_of(usual)
    assert f"Usual constants stand in for what was not measured: {reason}." in text
    assert "mean grey 0.5, spread 0.25, and no weights of classes." in text
    assert "Patients, with noise" not in text


def test_a_run_without_statistics_says_nothing_of_them() -> None:
    assert "How the sites differ" not in text_of()


def test_the_statistics_are_no_round() -> None:
    assert "Round Seconds Trained Added nothing, and why 1 39.7" in text_of(*BEFORE)


def test_statistics_told_again_after_a_crash_are_shown_once() -> None:
    assert page_of(*BEFORE) == page_of(*BEFORE[:2], GATHERED, *BEFORE)


def test_each_class_of_several_labels_has_its_accuracy() -> None:
    several = replace(STARTED, task=replace(STARTED.task, multi_label=True))
    figures = replace(figures_of(0.8), class_accuracy=(0.91, 0.72))
    rounds = [
        replace(event, test=figures) if isinstance(event, RoundPublished) else event for event in ROUND_1
    ]
    text = Reader(render_report((several, *rounds), None)).text
    assert (
        "rightly called present or absent in this share of the images: normal 0.910, pneumonia 0.720." in text
    )
    assert "share of the images" not in Reader(render_report(FINISHED, None)).text


def test_the_console_tells_the_constants_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleObserver() as observer:
        for event in BEFORE:
            observer(event)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "statistics of 3 sites  mean grey 0.4312, spread 0.2101  class weights 0.67, 2.00"
    )


def test_the_journal_keeps_what_is_few_as_nothing() -> None:
    assert b'"classes":[400,null]' in encode_event(GATHERED)
