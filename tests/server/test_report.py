"""The report says what the journal says, whatever became of the run, and reaches out to nothing."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.server.journal_samples import (
    AUC,
    FINISHED,
    HARBOUR,
    OLD_TOWN,
    REFERENCES,
    RIVERBANK,
    SITES,
    STARTED,
    TASK,
    UNFINISHED,
    answered,
    failed,
    figures_of,
    privacy_of,
    published,
    usual_round,
    usual_rounds,
)
from tests.server.page import Reader, drawings_of

from fed_common.adversaries import Claim
from fed_common.errors import MachineError
from fed_common.reference import Reference, References
from fed_server.charts import exactly
from fed_server.journal import PhaseAsked, RoundPublished, RunEvent, RunResumed, RunStarted, SumAbandoned
from fed_server.report import render_report, write_report


@cache
def finished_page() -> str:
    return render_report(FINISHED, REFERENCES)


def finished_text() -> str:
    return Reader(finished_page()).text


def text_of(events: Sequence[RunEvent], references: References | None = None) -> str:
    return Reader(render_report(events, references)).text


def without_test_set(events: Sequence[RunEvent]) -> list[RunEvent]:
    return [replace(event, test=None) if isinstance(event, RoundPublished) else event for event in events]


def test_headline_is_the_last_auc_with_its_interval() -> None:
    text = finished_text()

    assert "AUC on the public test set after round 12 0.892 95 % interval 0.862-0.922" in text
    assert "Finished: all 12 rounds are published." in text


def test_each_reference_stands_beside_the_federated_model() -> None:
    text = finished_text()

    for model in REFERENCES.models:
        difference = re.escape(f"{AUC[-1] - model.figures.auc.value:+.3f}")
        assert re.search(rf"{model.label} {model.figures.auc.value:.3f} \S+ \S+ \S+ {difference}", text)
    assert "local-only, mean of 5 0.819 a mean 0.749 0.431 +0.073" in text


@pytest.mark.parametrize(
    ("local_auc", "verdict"),
    [
        (0.80, "is better than a site alone is on average (0.800): +0.092. That mean is outside"),
        (0.88, "is better than a site alone is on average (0.880): +0.012. That mean is inside"),
        (0.90, "is not better than a site alone is on average (0.900): -0.008. That mean is inside"),
        (0.95, "is not better than a site alone is on average (0.950): -0.058. That mean is outside"),
    ],
)
def test_the_verdict_follows_the_figures(local_auc: float, verdict: str) -> None:
    alone = Reference(kind="local", label="harbour alone", figures=figures_of(local_auc))

    assert verdict in text_of(FINISHED, References(task=TASK.digest, models=(alone,)))


def test_without_references_nothing_is_compared() -> None:
    page = render_report(FINISHED, None)

    assert "No references were given" in page
    assert "on average" not in page
    assert not any("var(--pooled)" in drawing or "var(--local)" in drawing for drawing in drawings_of(page))


def test_curves_show_both_references() -> None:
    comparison, *curves = drawings_of(finished_page())

    names = [element.text for element in ElementTree.fromstring(comparison).iter() if element.text]
    assert {"federated, private", "local-only, mean", *(m.label for m in REFERENCES.models)} <= set(names)
    assert len(curves) == 5
    for curve in curves[:3]:
        assert {"var(--federated)", "var(--pooled)", "var(--local)"} <= set(
            re.findall(r"var\(--\w+\)", curve)
        )


def test_the_interval_is_drawn_around_the_auc_alone() -> None:
    certain = [
        replace(event, test=replace(event.test, auc=exactly(event.test.auc.value)))
        if isinstance(event, RoundPublished) and event.test
        else event
        for event in FINISHED
    ]

    _, auc, accuracy, *_ = drawings_of(finished_page())
    _, certain_auc, certain_accuracy, *_ = drawings_of(render_report(certain, REFERENCES))

    assert auc != certain_auc
    assert accuracy == certain_accuracy


def test_without_a_test_set_no_exact_figure_and_no_exact_curve_is_shown() -> None:
    page = render_report(without_test_set(FINISHED), REFERENCES)

    assert "No public test set was held" in page
    assert "Round by round" not in page
    assert len(drawings_of(page)) == 2  # reliability and AUC at the sites, both noised
    assert "all together 0.872 0.822-0.922" in Reader(page).text


def test_figures_that_noise_hides_are_called_hidden() -> None:
    text = finished_text()

    hidden = "noise hides it"
    assert f"hillside {hidden} 0.792 0.692-0.892 {hidden}" in text
    assert f"lakeview {' '.join([hidden] * 6)}" in text


def test_figures_at_the_sites_stand_with_their_intervals() -> None:
    together = "all together 0.872 0.822-0.922 0.812 0.772-0.852 0.692 0.592-0.792 0.672 0.562-0.782"

    assert f"{together} -0.030 -0.050 to -0.010 0.050 0.020-0.080" in finished_text()


def test_no_epsilon_is_shown_without_what_it_means() -> None:
    text = finished_text()

    assert "at most epsilon 4.0 at delta 1e-05 per patient" in text
    for site, releases in ((HARBOUR, 16), (OLD_TOWN, 11)):
        stated = privacy_of(site, releases)
        assert (
            f"{site} patient {stated.epsilon:.3f} at 1e-05 {stated.adversary} {stated.sampling} {releases} "
            f"{stated.accountant} {releases} events {stated.ledger.digest[:12]}"
        ) in text


def test_a_site_that_never_answered_is_named() -> None:
    assert f"{RIVERBANK} gave no answer that counted" in finished_text()


def test_each_round_names_who_trained_and_who_failed_why() -> None:
    text = finished_text()

    assert (
        "3 43.1 4 of 5 : harbour, hillside, lakeview, old-town asked 2 times "
        "hillside, train: late lakeview, train: link-error riverbank, train: offline, 2 times"
    ) in text
    assert "old-town, train: budget-exhausted epsilon would be 3.62, the policy allows 3.5" in text


def test_an_interrupted_run_is_not_called_finished() -> None:
    text = text_of(UNFINISHED, REFERENCES)

    assert "Not finished: 5 of 12 rounds are published." in text
    assert "6 not published 1 of 5 : harbour" in text
    assert "verify checkpoints/0005 --key" in text


def test_a_resumed_run_tells_where_it_was_resumed() -> None:
    assert "The coordinator was started again after round 5." in finished_text()


def test_a_round_whose_line_was_lost_in_a_crash_still_counts() -> None:
    events: list[RunEvent] = [STARTED, *usual_round(1), *usual_round(2)]
    events[-1] = RunResumed(round=2)

    text = text_of(events)

    assert "Not finished: 2 of 12 rounds are published." in text
    assert "2 published 4 of 5" in text


def test_a_run_without_any_published_round_has_no_model_to_verify() -> None:
    events = (STARTED, PhaseAsked(round=1, phase="train", attempt=1), failed(1, HARBOUR, "late"))

    text = text_of(events, REFERENCES)

    assert "No round was published, so there is no trained model." in text
    assert "harbour, train: late" in text
    assert "Verify" not in text


def test_a_run_that_stopped_before_its_first_event_has_a_page_too() -> None:
    assert "The run never began" in text_of(())


def test_one_published_round_is_no_curve() -> None:
    page = render_report([STARTED, answered(1, HARBOUR), published(1)], None)

    assert len(drawings_of(page)) == 1  # the comparison
    assert "1 39.7 5 of 5" in Reader(page).text


def test_same_events_give_the_same_bytes() -> None:
    assert render_report(FINISHED, REFERENCES) == finished_page()


def test_the_page_reaches_out_to_nothing() -> None:
    page = finished_page()
    reader = Reader(page)

    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert all(address.startswith("#") for address in reader.addresses)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))


def test_text_from_outside_stays_text() -> None:
    hostile = "<script>alert('x')</script> $\\alpha$ & more"
    model = Reference(kind="local", label=hostile, figures=figures_of(0.8))
    events = [*FINISHED, failed(12, SITES[0], "training-failed", hostile)]

    page = render_report(events, References(task=TASK.digest, models=(model,)))

    assert "script" not in Reader(page).tags
    assert hostile in Reader(page).text
    assert "<script>alert('x')</scri" in "".join(ElementTree.fromstring(drawings_of(page)[0]).itertext())


def test_the_file_holds_the_page(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", FINISHED, REFERENCES)

    assert (tmp_path / "report.html").read_text(encoding="utf-8") == finished_page()


def test_a_disk_that_refuses_is_the_operators_matter(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MachineError, match="can't be written"):
        write_report(tmp_path / "file" / "report.html", list(usual_rounds(1, 1)), None)


def test_figures_of_personal_models_are_called_so() -> None:
    sentence = "Each site measured a model of its own (ditto), which never left it"
    begun, *others = FINISHED
    assert isinstance(begun, RunStarted)
    assert sentence in text_of([replace(begun, personal="ditto"), *others])
    assert sentence not in finished_text()


def test_a_masked_run_says_so_and_why_a_round_changed_nothing() -> None:
    alone = Claim(adversary="the coordinator alone, while 4 sites are honest", epsilon=1.75, delta=1e-5)
    events: list[RunEvent] = [
        replace(STARTED, masked=True, alone=alone),
        PhaseAsked(round=1, phase="train", attempt=1),
        SumAbandoned(round=1, reason="3 sites confirmed the survivors, 4 must have"),
        replace(published(1), sites=()),
    ]
    text = text_of(events)
    assert "of each round the coordinator saw their sum, of no site its update." in text
    assert "Against the coordinator alone, while 4 sites are honest, it is 1.750 at delta 1e-05." in text
    assert "The model stayed as it was: 3 sites confirmed the survivors, 4 must have" in text
    assert "under masks" not in finished_text()
