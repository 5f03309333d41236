"""A site that leaves is asked nothing more, no new model is made of it, and it has in writing which are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, EAST, MODEL, NORTH, SITES, SOUTH, new_key
from tests.released_models import SITE_SIGNS
from tests.server.authority.enrolling import CA, enrol
from tests.server.runs import SETTINGS, Crash, CrashAt, Run

from fed_common import checkpoint as checkpoints
from fed_common import signed_fact
from fed_common.errors import ConfigError, FedError, TrustError
from fed_common.names import RunId, SiteName
from fed_common.pki.key_folder import KeyFolder
from fed_common.withdrawal import ModelUsed, SiteWithdrawal
from fed_server.artefacts.verification import verify_run
from fed_server.journal import RoundPublished, RunEvent
from fed_server.registry.admission import Admissions
from fed_server.registry.keys import IdentityKeys
from fed_server.registry.registry import Registry
from fed_server.run_folder import RunFolder
from fed_server.withdrawal.certificate import withdraw_site
from fed_server.withdrawal.refusal import refuse_withdrawn
from fed_server.withdrawal.usage import Use, uses_of


@pytest.fixture
def admissions(tmp_path: Path) -> Admissions:
    registry = Registry(folder=tmp_path / "registry", key=COORDINATOR_KEY)
    return Admissions(registry=registry, ca=CA.certificate)


@pytest.fixture
def enrolled(tmp_path: Path, admissions: Admissions) -> Admissions:
    for site in (NORTH, EAST):
        keys = KeyFolder(path=tmp_path / f"keys-{site}")
        keys.make()
        enrol(admissions, keys, site)
    return admissions


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: in the first, east comes in round 2; the second begins where east wasn't there yet."""
    root = tmp_path_factory.mktemp("runs")
    first = Run(RunFolder.begin(root, "play"))
    first.offline.add(EAST)

    def joins(event: RunEvent) -> None:
        if isinstance(event, RoundPublished):
            first.offline.discard(EAST)

    first.start(observer=joins)
    second = Run(RunFolder.begin(root, "play", start=first.folder.checkpoints / "0001"))
    del second.sites[EAST]
    second.start()
    return root


def folders(runs: Path) -> tuple[RunFolder, RunFolder]:
    second = RunFolder.current(runs)
    assert second is not None
    return RunFolder(runs, RunId((second.path / "previous").read_text().strip())), second


def test_a_site_that_left_is_enrolled_no_more_and_may_be_invited_again(
    enrolled: Admissions, tmp_path: Path
) -> None:
    registry = enrolled.registry
    assert enrolled.withdraw(NORTH, "the consortium ends").state == "withdrawn"
    assert registry.standing(NORTH).certificates == ()
    assert set(IdentityKeys(registry, enrolled=True)) == {EAST}
    assert set(IdentityKeys(registry)) == {NORTH, EAST}  # what it signed before stays its own

    for site in (NORTH, SOUTH):
        with pytest.raises(ConfigError, match="nothing to withdraw"):
            enrolled.withdraw(site, "again, or never here")

    keys = KeyFolder(path=tmp_path / "keys-again")
    keys.make()
    enrol(enrolled, keys, NORTH)
    assert registry.standing(NORTH).state == "enrolled"
    assert set(IdentityKeys(registry, enrolled=True)) == {NORTH, EAST}
    refuse_withdrawn(registry, cohort=(NORTH, EAST), start=None)  # it is a member again


def test_an_invitation_that_nobody_answered_brings_no_site_back(enrolled: Admissions, runs: Path) -> None:
    registry, made_of_it = enrolled.registry, folders(runs)[0].checkpoints / "0002"
    enrolled.withdraw(EAST, "it moved")
    left = registry.standing(EAST)

    def refuses_all() -> None:
        with pytest.raises(ConfigError, match="east withdrew"):
            refuse_withdrawn(registry, cohort=(NORTH, EAST), start=None)
        with pytest.raises(ConfigError, match="made of east, too"):
            refuse_withdrawn(registry, cohort=(NORTH,), start=made_of_it)
        with pytest.raises(ConfigError, match="left before: nothing to withdraw"):
            enrolled.withdraw(EAST, "again")
        standing = registry.standing(EAST)
        assert (standing.withdrawn, standing.since) == ("it moved", left.since)

    refuses_all()
    assert enrolled.registry.standing(EAST).state == "withdrawn"
    enrolled.invite(EAST, ttl_s=60)
    refuses_all()
    assert enrolled.revoke(EAST, "invited by mistake").state == "withdrawn"
    refuses_all()


def test_a_site_that_was_revoked_answers_nothing_either(enrolled: Admissions) -> None:
    enrolled.revoke(NORTH, "stolen")
    assert set(IdentityKeys(enrolled.registry, enrolled=True)) == {EAST}
    assert enrolled.withdraw(NORTH, "then it left").state == "withdrawn"


def test_the_models_that_a_site_is_part_of_are_named_with_where_it_was_not(runs: Path) -> None:
    first, second = folders(runs)
    assert list(uses_of(EAST, runs, COORDINATOR_SIGNS)) == [
        Use(
            model=ModelUsed(run=first.run, rounds=1, first=2, last=2, releases=()),
            before=first.checkpoints / "0001",
        )
    ]
    of_north = {use.model.run: use for use in uses_of(NORTH, runs, COORDINATOR_SIGNS)}
    assert of_north[first.run].before is None and of_north[first.run].model.rounds == 2
    assert of_north[second.run].begun_from == first.run
    assert list(uses_of(SiteName("west"), runs, COORDINATOR_SIGNS)) == []
    with pytest.raises(TrustError):
        list(uses_of(EAST, runs, new_key().verifying_key))


def test_a_run_goes_on_from_the_checkpoint_that_it_began_with(runs: Path) -> None:
    first, second = folders(runs)
    before = checkpoints.load(first.checkpoints / "0001", MODEL, COORDINATOR_SIGNS)
    chain = Run(second).chain()
    assert np.array_equal(chain[0].parameters_P, before.parameters_P)
    assert chain[0].manifest.previous == before.digest
    for checkpoint in chain:
        begun_from = checkpoint.manifest.begun_from
        assert begun_from is not None
        assert (begun_from.run, begun_from.round, begun_from.checkpoint) == (first.run, 1, before.digest)
        assert checkpoint.manifest.made_of == {NORTH, SOUTH}
    found = verify_run(second, MODEL, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)
    assert len(found.manifests) == 3


def test_a_crash_at_any_event_leaves_the_beginning_as_it_was(runs: Path, tmp_path: Path) -> None:
    first, _ = folders(runs)
    digests = set()
    for number in (1, 3, 6):
        run = Run(RunFolder.begin(tmp_path, "play", start=first.checkpoints / "0001"))
        with pytest.raises(Crash):
            run.start(observer=CrashAt(number))
        digests.add(run.start().manifest.parameters)
    assert len(digests) == 1


def test_another_model_than_the_coordinator_s_is_no_beginning(runs: Path, tmp_path: Path) -> None:
    first, _ = folders(runs)
    run = Run(RunFolder.begin(tmp_path, "play", start=first.checkpoints / "0001"))
    model = run.folder.start / checkpoints.MODEL_FILE
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(TrustError, match="not the file"):
        run.start()
    with pytest.raises(TrustError, match="not a whole checkpoint"):
        RunFolder.begin(tmp_path, "play", start=tmp_path / "nowhere")
    assert RunFolder.current(tmp_path) == run.folder  # what can't begin isn't gone on with

    other = Run(RunFolder.begin(tmp_path, "play", start=first.checkpoints / "0001"))
    with pytest.raises(ConfigError, match="another task"):
        other.start(settings=replace(SETTINGS, task=replace(SETTINGS.task, name="another")))


def test_a_beginning_that_was_exchanged_afterwards_is_found(runs: Path, tmp_path: Path) -> None:
    first, _ = folders(runs)
    run = Run(RunFolder.begin(tmp_path, "play", start=first.checkpoints / "0001"))
    run.start()
    checkpoints.copy(first.checkpoints / "0000", run.folder.start)
    with pytest.raises(TrustError, match="round 0: doesn't begin"):
        verify_run(run.folder, MODEL, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def test_nothing_new_begins_with_a_site_that_left(enrolled: Admissions, runs: Path) -> None:
    first, _ = folders(runs)
    registry = enrolled.registry
    refuse_withdrawn(registry, cohort=SITES, start=first.checkpoints / "0002")
    enrolled.withdraw(EAST, "moved")
    with pytest.raises(ConfigError, match="east withdrew: take it out"):
        refuse_withdrawn(registry, cohort=SITES, start=None)
    with pytest.raises(ConfigError, match="made of east, too, which withdrew"):
        refuse_withdrawn(registry, cohort=(NORTH, SOUTH), start=first.checkpoints / "0002")
    refuse_withdrawn(registry, cohort=(NORTH, SOUTH), start=first.checkpoints / "0001")


def test_the_certificate_says_what_was_ended_and_which_models_know_the_site(
    enrolled: Admissions, runs: Path
) -> None:
    first, _ = folders(runs)

    def certify() -> tuple[SiteWithdrawal, tuple[Use, ...]]:
        return withdraw_site(EAST, "moved", admissions=enrolled, federation="play", runs=runs)

    certificate, uses = certify()
    assert (certificate.site, certificate.reason, len(uses)) == (EAST, "moved", 1)
    assert certificate.models == (ModelUsed(run=first.run, rounds=1, first=2, last=2, releases=()),)
    assert certificate.register == enrolled.registry.last_line(EAST) != ""
    assert certificate.identity == IdentityKeys(enrolled.registry)[EAST].fingerprint
    assert certify() == (certificate, uses)  # asked again, it is the same withdrawal

    line = signed_fact.sign(certificate, COORDINATOR_KEY)
    assert signed_fact.verify(line, SiteWithdrawal, COORDINATOR_SIGNS) == certificate
    for forged in (line.replace(b"moved", b"stays"), line.replace(b'"rounds":1', b'"rounds":0')):
        with pytest.raises(FedError):
            signed_fact.verify(forged, SiteWithdrawal, COORDINATOR_SIGNS)
