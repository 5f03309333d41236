"""The report says for every hospital where learning together doesn't help, and reaches out to nothing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from tests.sim.experiments.cells import measured, scores

from fed_common.errors import ConfigError
from fed_common.names import Digest, SiteName
from fed_sim.experiments.cell import PUBLIC, Measured
from fed_sim.experiments.figures import Evidence, Way
from fed_sim.experiments.report import write_comparison
from fed_sim.experiments.store import Store
from fed_sim.experiments.verdicts import in_words, verdicts
from fed_sim.hospitals import FederationSummary, SiteSummary

TOGETHER = Way(arm="federated", method="together")
PLACES = (PUBLIC, "hospital-1", "hospital-2")


def cells(*, personal: bool = False) -> Iterator[Measured]:
    """Yield three seeds in which hospital 1 gains much from the federation, and hospital 2 loses by it."""
    for seed in (1, 2, 3):

        def at(where: str, skill: float, seed: int = seed) -> object:
            who = f"{where}/{seed if where != PUBLIC else 0}"
            return scores(where=where, patients=who, skill=skill, count=200, seed=seed)

        together = [at(where, skill) for where, skill in zip(PLACES, (1.0, 2.0, 0.5), strict=True)]
        yield measured(*together, seed=seed)  # type: ignore[arg-type]
        yield measured(*together, arm="pooled", seed=seed)  # type: ignore[arg-type]
        for hospital in PLACES[1:]:
            alone = [at(where, 1.0) for where in PLACES]
            yield measured(*alone, arm="local", hospital=hospital, seed=seed)  # type: ignore[arg-type]
        if personal:
            own = [at(where, skill) for where, skill in zip(PLACES, (1.0, 2.0, 2.0), strict=True)]
            yield measured(*own, method="fine-tuned", personal=True, seed=seed)  # type: ignore[arg-type]


def test_who_gains_and_who_loses_is_told_apart() -> None:
    found = list(verdicts(Evidence(list(cells()))))

    assert [(one.hospital, one.helps) for one in found] == [("hospital-1", True), ("hospital-2", False)]
    sentence = in_words(found[1], choices=1)
    assert sentence.startswith(
        "hospital-2, epsilon 8: learning together makes it worse. Against training alone"
    )
    assert "changes its AUC by \N{MINUS SIGN}0." in sentence


def test_personalisation_is_judged_against_both() -> None:
    found = [one for one in verdicts(Evidence(list(cells(personal=True)))) if one.best.personal]

    helped = {(one.hospital, one.against.arm): one.helps for one in found}
    assert helped == {
        ("hospital-1", "local"): True,
        ("hospital-1", "federated"): False,
        ("hospital-2", "local"): True,
        ("hospital-2", "federated"): True,
    }


def test_a_hospital_with_one_class_is_judged_by_accuracy() -> None:
    def one_class(one: Measured) -> Measured:
        own = [
            replace(place, positive_M=np.ones_like(place.positive_M))
            if place.where == "hospital-2"
            else place
            for place in one.scores
        ]
        return replace(one, scores=tuple(own))

    found = list(verdicts(Evidence([one_class(one) for one in cells()])))

    assert [one.figure for one in found] == ["auc", "accuracy"]


def test_alone_is_the_mean_of_hospitals_at_the_public_test_and_each_ones_own_at_its_own() -> None:
    evidence = Evidence(list(cells()))
    alone = next(way for way in evidence.ways if way.arm == "local")
    public, own = evidence.row(alone, 8.0, PUBLIC), evidence.row(alone, 8.0, "hospital-1")

    assert public is not None and own is not None
    assert (public.seeds, own.seeds, public.patients) == (3, 3, 200)


def summary() -> FederationSummary:
    site = SiteSummary(
        name=SiteName("hospital-1"),
        modality="DX",
        num_patients=7,
        num_images=7,
        prevalence=0.5,
        patients=7,
        classes={"a": 3, "b": 4},
    )
    return FederationSummary(
        sites=(site,), public_test=site, made={"source": "x", "partition_kind": "ByPatient"}
    )


def page_of(trained: Iterable[Measured], folder: Path) -> str:
    """Return the report's text, however its lines are broken."""
    (folder / "play/seed-1").mkdir(parents=True)
    with Store.opened(folder / "results.sqlite") as store:
        for one in trained:
            store.add(one, terms=Digest("a" * 64))
    (folder / "play/seed-1/federation.json").write_text(json.dumps(asdict(summary())))
    return " ".join(write_comparison(folder).read_text().split())


def test_the_page_has_every_hospital_and_sentence_and_reaches_out_to_nothing(tmp_path: Path) -> None:
    page = page_of(cells(), tmp_path)

    assert "hospital-2, epsilon 8: learning together makes it worse" in page
    assert "hospital-1, epsilon 8: learning together" not in page
    assert "dealt out by patient" in page
    assert page.count("<svg") == 2
    assert not any(word in page for word in ("<script", "<img", "<link", "@import", "url(h"))
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {(row["arm"], row["where"]) for row in rows} == {
        (arm, where) for arm in ("local", "federated", "pooled") for where in PLACES
    }


def test_that_the_best_is_flattered_is_said_once_even_where_it_helps_everybody(tmp_path: Path) -> None:
    elsewhere = [
        replace(one, scores=tuple(scores for scores in one.scores if scores.where != "hospital-2"))
        for one in cells()
        if one.cell.hospital != "hospital-2"
    ]

    helps, hinders = page_of(elsewhere, tmp_path / "helps"), page_of(cells(), tmp_path / "hinders")

    assert "helps every hospital at every budget, by the method that is best there" in helps
    assert [page.count("The same patients chose it, which flatters it") for page in (helps, hinders)] == [
        1,
        1,
    ]


def test_the_page_says_what_no_privacy_still_does(tmp_path: Path) -> None:
    assert "each patient's gradient is clipped and patients are sampled (Poisson)" in page_of(
        cells(), tmp_path
    )


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results here"):
        write_comparison(tmp_path)
