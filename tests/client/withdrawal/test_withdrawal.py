"""A patient who withdrew is in no version any more, nor in one to come; what was spent stays spent."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.client.data_site import CANARY, Site, ledger_of, make_site
from tests.client.dataset.folders import KEYS, Folder, direct_reading, reasons_of
from tests.fakes import RUN, new_key

from fed_client.config import SiteConfig, load_site_config
from fed_client.dataset.copying import listed_pseudonym
from fed_client.dataset.source import Reader
from fed_client.dataset.versions import Version, list_versions, load_version
from fed_client.deidentification import Pseudonym
from fed_client.opening import open_registered, site_keys
from fed_client.reading.pool import ReaderPool
from fed_client.withdrawal.erasing import patients_of
from fed_client.withdrawal.withdrawn import note_withdrawn, read_withdrawn, sign_anew
from fed_common import signed_fact
from fed_common.accounting import Spend
from fed_common.audit_log.facts import PatientsWithdrew
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError, DataError, MachineError, TrustError
from fed_common.files import exclusive
from fed_common.ledger_record import LedgerRecord
from fed_common.ledger_reset import replaced_ledgers, reset_ledger, sign_reset
from fed_common.task import Recipe
from fed_common.withdrawal import PatientWithdrawal

SPEND = Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2)


def pseudonym(patient_id: str, secret: bytes = KEYS.secret) -> Pseudonym:
    return Pseudonym(listed_pseudonym(patient_id, secret))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    for number in range(8):
        folder.add(number, patient=f"P{number // 2}")
    return folder


def test_a_patient_who_withdrew_is_left_out_and_counted(folder: Folder) -> None:
    first = folder.register()
    folder.allowed = {"withdrawn": frozenset({pseudonym("p1")})}  # however the ID is spelt
    second = folder.register()
    assert (first.manifest.patients, second.manifest.patients) == (4, 3)
    assert (second.manifest.withdrawn, reasons_of(second)) == (1, {"the patient withdrew": 2})
    assert patients_of(first, KEYS.secret) - patients_of(second, KEYS.secret) == {pseudonym("P1")}
    assert len(folder.reader.paths) == 2  # all others are copied
    folder.add(20, patient="P1")
    assert folder.register().manifest.patients == 3


def test_a_list_that_is_lost_registers_nothing(folder: Folder) -> None:
    folder.allowed = {"withdrawn": frozenset({pseudonym("P1")})}
    folder.register()
    folder.allowed = {}
    with pytest.raises(TrustError, match="the list of who withdrew is lost"):
        folder.register()
    assert list_versions(folder.datasets) == [1]


def test_the_list_is_a_chain_of_this_site_s_lines(tmp_path: Path) -> None:
    key, ada, bob = new_key(), pseudonym("ada"), pseudonym("bob")
    assert read_withdrawn(tmp_path, key.verifying_key) == frozenset()
    note_withdrawn(tmp_path, [ada], key)
    note_withdrawn(tmp_path, [ada, bob], key)
    path = tmp_path / "withdrawn.jsonl"
    assert read_withdrawn(tmp_path, key.verifying_key) == {ada, bob}
    assert (path.stat().st_mode & 0o777, path.read_bytes().count(b"\n")) == (0o600, 2)

    first, second = path.read_bytes().splitlines(keepends=True)
    for damaged in (second, second + first, first + first, first + second.replace(b'"seq":1', b'"seq":2')):
        path.write_bytes(damaged)
        with pytest.raises(TrustError, match="the list of who withdrew, line"):
            read_withdrawn(tmp_path, key.verifying_key)
    path.write_bytes(first + second)
    with pytest.raises(TrustError, match="not this site's"):
        read_withdrawn(tmp_path, new_key().verifying_key)


def test_a_new_key_signs_the_list_anew_which_only_the_former_one_has_signed(tmp_path: Path) -> None:
    former, key, patients = new_key(), new_key(), {pseudonym("ada"), pseudonym("bob")}
    assert sign_anew(tmp_path, former=former.verifying_key, key=key) == 0
    note_withdrawn(tmp_path, patients, former)
    with pytest.raises(TrustError, match="not this site's"):
        sign_anew(tmp_path, former=new_key().verifying_key, key=key)
    assert read_withdrawn(tmp_path, former.verifying_key) == patients
    assert sign_anew(tmp_path, former=former.verifying_key, key=key) == 2
    assert sign_anew(tmp_path, former=former.verifying_key, key=key) == 2, "as after a crash"
    note_withdrawn(tmp_path, [pseudonym("cy")], key)
    assert read_withdrawn(tmp_path, key.verifying_key) == patients | {pseudonym("cy")}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a hospital that reads in this process: it registers often, and who reads doesn't matter here."""

    def opened(recipe: Recipe, *, num_workers: int) -> AbstractContextManager[Reader]:
        return direct_reading(recipe)

    monkeypatch.setattr(ReaderPool, "opened", opened)
    return make_site(tmp_path)


def versions_of(settings: SiteConfig) -> list[Version]:
    key = site_keys(settings).identity.verifying_key
    return [load_version(settings.datasets, n, key) for n in list_versions(settings.datasets)]


def certificate_in(path: Path, settings: SiteConfig) -> PatientWithdrawal:
    key = site_keys(settings).identity.verifying_key
    return signed_fact.verify(path.read_bytes().removesuffix(b"\n"), PatientWithdrawal, key)


def all_bytes(paths: Iterable[Path]) -> bytes:
    return b"".join(path.read_bytes() for path in paths if path.is_file())


def test_a_patient_withdraws(site: Site) -> None:
    settings, out = load_site_config(site.config), site.root / "certificate"
    site.folder.add(12, patient=f"{CANARY}-3", name="issued.dcm", IssuerOfPatientID="Ward")
    site.run("add")
    (first,) = versions_of(settings)
    with ledger_of(settings, first.digest) as ledger:
        ledger.charge(RUN, 1, "train", SPEND)
    told = site.run("withdraw", "--out", str(out), "--issuer", "ward", typed=f"{CANARY}-3\n")

    old, new = versions_of(settings)
    assert (old.erased, new.erased, new.manifest.patients) == (True, False, 11)
    assert sorted(path.name for path in old.path.iterdir()) == ["manifest.json"]
    certificate = certificate_in(out, settings)
    assert (certificate.patients, certificate.runs) == (1, (RUN,))
    assert (certificate.dataset, certificate.erased) == (new.digest, (old.digest,))
    fact = AuditLog(settings.audit).read()[-1].fact
    assert isinstance(fact, PatientsWithdrew) and (fact.patients, fact.dataset) == (1, new.digest)
    assert f"{RUN} has learnt from them" in told and CANARY not in told
    assert CANARY.encode() not in all_bytes(settings.state.rglob("*")) + out.read_bytes()

    record = LedgerRecord.read(settings.ledger, site_keys(settings).identity.verifying_key)
    assert record.spends == (SPEND,)  # what was spent stays spent
    version, _ = open_registered(settings)
    assert version.digest == new.digest
    assert "nothing has changed" in site.run("add")
    site.run("verify")
    site.folder.add(13, patient=f"{CANARY}-3", name="again.dcm")
    site.run("add")
    assert versions_of(settings)[-1].manifest.patients == 11


def test_an_id_of_an_issuer_is_withdrawn_where_the_issuer_is_named_also_for_later(site: Site) -> None:
    settings = load_site_config(site.config)
    site.folder.add(12, patient=f"{CANARY}-3", name="issued.dcm", IssuerOfPatientID="Ward")
    site.run("add")
    told = site.run("withdraw", "--out", str(site.root / "first"), typed=f"{CANARY}-3\n")
    assert versions_of(settings)[-1].manifest.patients == 12  # nobody said that this is the same person
    assert "another person's: withdraw it with --issuer, too" in told

    for issuer, patient in (("Ward", 3), ("ICU", 4)):
        out = site.root / issuer
        told = site.run("withdraw", "--out", str(out), "--issuer", issuer, typed=f"{CANARY}-{patient}\n")
    assert "these IDs without an issuer and of icu;" in told
    assert versions_of(settings)[-1].manifest.patients == 10
    site.folder.add(13, patient=f"{CANARY}-4", name="later.dcm", IssuerOfPatientID="icu")
    site.run("add")
    assert versions_of(settings)[-1].manifest.patients == 10


def test_a_patient_leaves_the_data_sets_of_all_tasks(site: Site) -> None:
    first, out = load_site_config(site.config), site.root / "certificate"
    site.run("add")
    (learnt,) = versions_of(first)
    with ledger_of(first, learnt.digest) as ledger:
        ledger.charge(RUN, 1, "train", SPEND)
    task = site.root / "task.toml"
    task.write_text(task.read_text().replace('"chest"', '"chest two"'))
    site.configure()
    second = load_site_config(site.config)
    site.run("add")
    told = site.run("withdraw", "--out", str(out), typed=f"{CANARY}-3\n")

    assert [version.erased for version in versions_of(first)] == [True]
    old, new = versions_of(second)
    assert (old.erased, new.erased) == (True, False)
    certificate = certificate_in(out, second)
    assert set(certificate.erased) == {learnt.digest, old.digest}
    assert certificate.runs == (RUN,) and f"{RUN} has learnt from them" in told
    with pytest.raises(DataError, match="run `fed-client data add`"):
        open_registered(first)


def test_a_typing_error_is_no_withdrawal(site: Site) -> None:
    settings, out = load_site_config(site.config), site.root / "certificate"
    site.folder.add(12, patient="7", name="issued.dcm", IssuerOfPatientID="Ward")
    site.run("add")
    (site.root / "ids").write_text(f"{CANARY}-3\n7\n")  # the same ID of another issuer is another person
    with pytest.raises(DataError, match="1 of 2 patients have no picture here; nothing was changed"):
        site.run("withdraw", "--out", str(out), "--patients", str(site.root / "ids"))
    assert not out.exists() and not (settings.state / "withdrawn.jsonl").exists()
    assert [version.erased for version in versions_of(settings)] == [False]

    with pytest.raises(ConfigError, match="must not be empty"):
        site.run("withdraw", "--out", str(out), typed=" \n")
    (site.root / "ids").write_text("\n")
    with pytest.raises(ConfigError, match="names nobody"):
        site.run("withdraw", "--out", str(out), "--patients", str(site.root / "ids"))
    with exclusive(settings.ledger.parent, owner="test"), pytest.raises(MachineError, match="is running"):
        site.run("withdraw", "--out", str(out), typed=f"{CANARY}-3\n")


def test_too_few_who_stay_are_erased_too_and_the_site_does_not_start(site: Site) -> None:
    """Consent ends whether or not what is left is enough to learn from."""
    settings, out = load_site_config(site.config), site.root / "certificate"
    site.run("add")
    (site.root / "ids").write_text("".join(f"{CANARY}-{number}\n" for number in range(9)))
    with pytest.raises(DataError):
        site.run("withdraw", "--out", str(out), "--patients", str(site.root / "ids"))
    assert [version.erased for version in versions_of(settings)] == [True]
    with pytest.raises(DataError, match="list of who withdrew; run `fed-client data add`"):
        open_registered(settings)

    for number in range(12, 20):
        site.folder.add(number, name=f"new-{number}.dcm")
    site.run("withdraw", "--out", str(out), "--patients", str(site.root / "ids"))  # finishes what was begun
    version, _ = open_registered(settings)
    assert (version.manifest.patients, certificate_in(out, settings).patients) == (11, 9)


def test_runs_of_before_a_reset_of_the_budget_are_named_too(site: Site) -> None:
    settings, out = load_site_config(site.config), site.root / "certificate"
    site.run("add")
    (learnt,) = versions_of(settings)
    with ledger_of(settings, learnt.digest) as ledger:
        ledger.charge(RUN, 1, "train", SPEND)
        head = ledger.head
    opening = sign_reset(new_key(), site=settings.name, replaces=head, reason="a new year")
    reset_ledger(settings.ledger, opening, witness=settings.witness, key=site_keys(settings).identity)
    told = site.run("withdraw", "--out", str(out), typed=f"{CANARY}-3\n")
    assert certificate_in(out, settings).runs == (RUN,) and "can't be read" not in told

    for replaced in replaced_ledgers(settings.ledger):
        replaced.unlink()
    told = site.run("withdraw", "--out", str(site.root / "next"), typed=f"{CANARY}-4\n")
    assert "the ledger of 1 lines that a reset has replaced can't be read" in told


def test_a_patient_whose_id_is_spelt_twice_counts_once(site: Site) -> None:
    settings, out = load_site_config(site.config), site.root / "certificate"
    site.run("add")
    (site.root / "ids").write_text(f"{CANARY}-3\n{CANARY.lower()}-3\n")
    assert "1 patients withdrew" in site.run(
        "withdraw", "--out", str(out), "--patients", str(site.root / "ids")
    )
    assert certificate_in(out, settings).patients == 1
