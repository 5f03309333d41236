"""Each fault of a rehearsal gets what the service promises, in a plain round and in a masked one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.dataset.folders import direct_reading

from fed_common.errors import ConfigError, QuorumError
from fed_common.plans import UpdateEncoding
from fed_server.journal import RoundPublished, RunEvent, SiteFailed, SumAbandoned
from fed_server.run_folder import RunFolder
from fed_server.settings import AggregationTable, CommunicationTable
from fed_sim.experiments.ground import Ground
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.experiments.training import settings_of, train
from fed_sim.faults.faulty_site import answerers_of
from fed_sim.faults.table import FaultKind, FaultTable
from fed_sim.phantoms import write_phantoms
from fed_sim.scenario import Scenario, gallery

SITES = ("hospital-1", "hospital-2", "hospital-3", "hospital-4")
FAULTY, ROUND = "hospital-2", 1
OTHERS = tuple(site for site in SITES if site != FAULTY)


@dataclass
class Rehearsal:
    """Two rounds of four small hospitals, of which one fails in the first."""

    ground: Ground
    folder: Path

    def run(
        self,
        kind: FaultKind | None,
        *,
        masked: bool,
        quorum: int = 3,
        updates: UpdateEncoding = "fixed-point",
    ) -> list[RunEvent]:
        faults = () if kind is None else (FaultTable(site=FAULTY, round=ROUND, kind=kind),)
        scenario = scenario_with(faults, masked=masked, quorum=quorum, updates=updates)
        settings = settings_of(
            self.ground.config.settings, scenario, cohort=self.ground.cohort, epsilon=np.inf, rounds=2
        )
        sites = {
            name: (self.ground.site_configs[name], dataset) for name, dataset in self.ground.datasets.items()
        }
        config = replace(self.ground.config, settings=settings)
        train(config, sites, self.folder, scenario=scenario, private=False)
        return self.events

    @property
    def events(self) -> list[RunEvent]:
        run = RunFolder.current(self.folder / "runs")
        assert run is not None
        return list(run.journal.read())

    def charged(self, site: str) -> list[int]:
        lines = (self.folder / site / "ledger.jsonl").read_text()
        return [number for number in (1, 2) if f'"round":{number}' in lines]


def scenario_with(
    faults: Sequence[FaultTable], *, masked: bool, quorum: int, updates: UpdateEncoding
) -> Scenario:
    scenario = gallery("phantoms")
    tables = {
        "training": scenario.training.model_copy(update={"rounds": 2, "steps_per_round": 1}),
        "privacy": scenario.privacy.model_copy(update={"sampling_rate": 1.0}),
        "policy": scenario.policy.model_copy(update={"max_sampling_rate": 1.0}),
        "aggregation": AggregationTable(masked=masked),
        "communication": CommunicationTable(updates=updates),
        "quorum": scenario.quorum.model_copy(update={"sites": quorum, "retries": 1}),
        "faults": tuple(faults),
    }
    return scenario.model_copy(update=tables)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("faults")
    write_phantoms(folder / "hospitals", sites=4, seed=1, patients=(30,) * 4, test_patients=8)
    return Ground.at(
        folder / "federation",
        hospitals=folder / "hospitals",
        scenario=gallery("phantoms"),
        known=KnownPictures(direct_reading),
    )


@pytest.fixture
def rehearsal(ground: Ground, tmp_path: Path) -> Iterator[Rehearsal]:
    yield Rehearsal(ground, tmp_path / "run")


def published(events: Sequence[RunEvent]) -> dict[int, tuple[str, ...]]:
    return {e.round: tuple(e.sites) for e in events if isinstance(e, RoundPublished) and e.round > 0}


def failures(events: Sequence[RunEvent]) -> set[tuple[str, int, str]]:
    return {(e.site, e.round, e.code) for e in events if isinstance(e, SiteFailed) and e.phase == "train"}


either_way = pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])


@either_way
@pytest.mark.parametrize(
    ("kind", "code", "charged"),
    [
        ("late", "late", [1, 2]),
        ("silent", "offline", [2]),
        ("crash", "link-error", [1, 2]),
        ("corrupt", "malformed", [1, 2]),
    ],
)
def test_who_does_not_answer_well_is_left_out_by_name_and_is_back_in_the_next_round(
    rehearsal: Rehearsal, kind: FaultKind, code: str, charged: list[int], masked: bool
) -> None:
    events = rehearsal.run(kind, masked=masked)

    assert published(events) == {1: OTHERS, 2: SITES}
    assert failures(events) == {(FAULTY, ROUND, code)}
    assert rehearsal.charged(FAULTY) == charged
    assert rehearsal.charged("hospital-1") == [1, 2]


@pytest.mark.parametrize("updates", ["fixed-point", "8-bit"])
def test_an_update_longer_than_any_honest_one_is_left_out(
    rehearsal: Rehearsal, updates: UpdateEncoding
) -> None:
    events = rehearsal.run("forged", masked=False, updates=updates)

    assert published(events) == {1: OTHERS, 2: SITES}
    assert failures(events) == {(FAULTY, ROUND, "norm-beyond-clip")}


def test_under_masks_a_forged_update_costs_the_round_and_nobody_can_be_named(rehearsal: Rehearsal) -> None:
    events = rehearsal.run("forged", masked=True)

    abandoned = [event for event in events if isinstance(event, SumAbandoned)]
    assert [event.round for event in abandoned] == [1]
    assert "mean has norm" in abandoned[0].reason
    assert published(events) == {1: (), 2: SITES}
    assert failures(events) == set()


def test_who_drops_out_once_keys_are_shared_is_taken_out_of_the_sum(rehearsal: Rehearsal) -> None:
    events = rehearsal.run("drop-out", masked=True)

    assert published(events) == {1: OTHERS, 2: SITES}
    assert failures(events) == {(FAULTY, ROUND, "offline")}
    assert rehearsal.charged(FAULTY) == [1, 2]


@either_way
def test_who_trains_by_the_book_on_lying_labels_is_in_the_mean(rehearsal: Rehearsal, masked: bool) -> None:
    events = rehearsal.run("malicious", masked=masked)

    assert published(events) == {1: SITES, 2: SITES}
    assert failures(events) == set()


def test_lying_labels_give_another_update(ground: Ground, tmp_path: Path) -> None:
    def loss(name: str, kind: FaultKind | None) -> float:
        events = Rehearsal(ground, tmp_path / name).run(kind, masked=False)
        first = next(event for event in events if isinstance(event, RoundPublished) and event.round == ROUND)
        assert first.test is not None
        return first.test.loss

    # Everybody takes part in every step and nothing is added, so that nothing is left to chance.
    assert loss("honest", None) == loss("again", None) != loss("lying", "malicious")


@either_way
def test_without_a_quorum_the_model_stays(rehearsal: Rehearsal, masked: bool) -> None:
    with pytest.raises(QuorumError, match="hospital-2: offline"):
        rehearsal.run("silent", masked=masked, quorum=4)

    assert published(rehearsal.events) == {}


def test_faults_that_can_not_be_are_refused(rehearsal: Rehearsal) -> None:
    with pytest.raises(ConfigError, match="takes masks"):
        rehearsal.run("drop-out", masked=False)
    nobody = FaultTable(site="hospital-9", round=1, kind="late")
    with pytest.raises(ConfigError, match="faults are of hospital-9"):
        answerers_of({}, [nobody], masked=False)


def test_the_gallery_has_one_fault_of_each_kind_that_leaves_a_masked_round_its_sum() -> None:
    kinds = {fault.kind for fault in gallery("faults").faults}
    assert kinds == {"late", "silent", "crash", "corrupt", "malicious", "drop-out"}
