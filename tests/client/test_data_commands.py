"""What a data steward types: adding, showing, verifying and comparing what will be trained on."""

import json
from pathlib import Path

import pytest
from tests.client.data_site import CANARY, Site, ledger_of, make_site
from tests.client.dataset.folders import pixels_of
from tests.client.dicom_files import image_dataset, write
from tests.fakes import RUN

from fed_client.config import load_site_config
from fed_client.dataset.manifest import FIRST
from fed_client.dataset.versions import list_versions, load_version
from fed_client.opening import open_registered, site_keys
from fed_client.policy_commands import sign_site_file
from fed_common.accounting import Spend
from fed_common.errors import ConfigError, DataError, LedgerError, MachineError, TrustError


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_what_is_added_can_be_shown_verified_and_compared(site: Site) -> None:
    assert "v0001" in site.run("add")
    site.folder.add(12)
    assert "v0002" in site.run("add")
    shown = json.loads(site.run("show", "--json"))
    assert (shown["name"], sum(side["images"] for side in shown["manifest"]["sides"])) == ("v0002", 13)
    assert "v0002 of 2: signature" in site.run("verify")
    compared = json.loads(site.run("diff", "--json"))
    assert (compared["from"], compared["to"], compared["files_new"]) == ("v0001", "v0002", 1)
    assert (compared["patients_added"], compared["pictures_added"], compared["pictures_removed"]) == (1, 1, 0)


def test_adding_what_is_there_makes_no_version(site: Site) -> None:
    site.run("add")
    assert "v0001: nothing has changed" in site.run("add")
    assert json.loads(site.run("add", "--json"))["new"] is False


def test_the_first_version_has_none_to_be_compared_with(site: Site) -> None:
    site.run("add")
    with pytest.raises(DataError, match="no version before v0001"):
        site.run("diff")


@pytest.fixture
def charged(site: Site) -> Site:
    """Return a site of four versions, the second of which the ledger names."""
    for number in range(12, 16):
        site.run("add")
        site.folder.add(number)
    settings = load_site_config(site.config)
    version = load_version(settings.datasets, 2, site_keys(settings).identity.verifying_key)
    with ledger_of(settings, version.digest) as ledger:
        ledger.charge(RUN, 1, "train", Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2))
    return site


def versions(site: Site) -> list[int]:
    return list_versions(load_site_config(site.config).datasets)


def test_pruning_keeps_the_newest_and_what_the_ledger_names(charged: Site) -> None:
    left = charged.root / "state/datasets/chest/.v0000.deleted"
    left.mkdir()
    assert charged.run("prune", "--dry-run") == "versions would be deleted: v0001, v0003\n"
    assert versions(charged) == [1, 2, 3, 4]
    assert charged.run("prune") == "versions deleted: v0001, v0003\n"
    assert versions(charged) == [2, 4]
    assert not left.exists()
    with pytest.raises(DataError, match="v0004 of 2: signature"):  # an image was added since
        charged.run("verify")
    assert json.loads(charged.run("diff", "--json"))["from"] == "v0002"
    assert charged.run("prune") == "versions deleted: none\n"


def test_nothing_is_pruned_without_a_ledger_that_can_be_believed(charged: Site) -> None:
    settings = load_site_config(charged.config)
    whole = settings.ledger.read_bytes()
    for contents, reason in ((b"", "older than its witness"), (whole + b"{", "torn")):
        settings.ledger.write_bytes(contents)
        with pytest.raises(LedgerError, match=reason):
            charged.run("prune")
    settings.ledger.write_bytes(whole)
    with ledger_of(settings, FIRST), pytest.raises(MachineError, match="another fed-client is running"):
        charged.run("prune")
    assert versions(charged) == [1, 2, 3, 4]


def test_nothing_is_pruned_if_a_version_is_not_what_was_signed(charged: Site) -> None:
    manifest = charged.root / "state/datasets/chest/v0003/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"files":', b'"filed":'))
    with pytest.raises(TrustError):
        charged.run("prune")
    assert versions(charged) == [1, 2, 3, 4]


def test_names_are_shown_only_to_who_asks_for_them(site: Site) -> None:
    (site.folder.images / f"{CANARY}-03.dcm").write_bytes(b"rubbish")
    outputs = [site.run("add"), site.run("show"), site.run("show", "--json"), site.run("verify")]
    (site.folder.images / f"{CANARY}-04.dcm").unlink()
    with pytest.raises(DataError, match="0 changed, 1 missing, 0 new") as caught:
        site.run("verify")
    assert CANARY not in "".join(outputs) + str(caught.value)
    assert f"{CANARY}-03.dcm: damaged" in site.run("show", "--files")
    with pytest.raises(DataError, match=f"missing  {CANARY}-04.dcm"):
        site.run("verify", "--files")


def test_verify_names_what_changed_in_the_folder(site: Site) -> None:
    site.run("add")
    write(site.folder.images / f"{CANARY}-01.dcm", image_dataset(pixels_of(77), patient="P"))
    (site.folder.images / f"{CANARY}-02.dcm").unlink()
    site.folder.add(12)
    with pytest.raises(DataError, match=r"1 changed, 1 missing, 1 new"):
        site.run("verify")


@pytest.mark.parametrize("name", ["images", "table", "names", "manifest.json"])
def test_verify_refuses_what_was_altered(site: Site, name: str) -> None:
    site.run("add")
    path = site.root / "state/datasets/chest/v0001" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(TrustError):
        site.run("verify")


def test_verify_refuses_a_version_put_in_anothers_place(site: Site) -> None:
    site.run("add")
    site.folder.add(12)
    site.run("add")
    datasets = site.root / "state/datasets/chest"
    (datasets / "v0001").rename(datasets / "v0003")
    with pytest.raises(TrustError, match="is version 1"):
        site.run("verify")


def test_a_version_that_is_not_there_is_named(site: Site) -> None:
    with pytest.raises(DataError, match="run `fed-client data add`"):
        site.run("show")
    site.run("add")
    with pytest.raises(ConfigError, match="the versions are v0001, got v0009"):
        site.run("show", "v9")
    with pytest.raises(ConfigError, match="a version is named as in v0001"):
        site.run("show", "newest")


def test_the_first_start_registers_and_the_next_never_opens_the_folder(site: Site) -> None:
    site.folder.labels.write_text("\n".join(site.folder.rows))
    settings = load_site_config(site.config)
    first, _ = open_registered(settings)
    for path in site.folder.images.iterdir():
        path.write_bytes(b"something else")
    again, dataset = open_registered(settings)
    assert again.digest == first.digest == dataset.digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"validation_fraction": 0.3}, "validation_fraction"),
        ({"defacing_attested": True}, "defacing_attested"),
        ({"file_is_patient": True}, "file_is_patient"),
    ],
)
def test_a_changed_configuration_is_not_trained_on_until_registered(
    site: Site, change: dict[str, object], says: str
) -> None:
    site.run("add")
    site.configure(**change)
    settings = load_site_config(site.config)
    with pytest.raises(DataError, match=f"registered with another {says}; run `fed-client data add`"):
        open_registered(settings)
    site.run("add")
    assert open_registered(settings)[0].manifest.version == 2


def test_another_recipe_is_not_trained_on_until_registered(site: Site) -> None:
    site.run("add")
    task = site.root / "task.toml"
    task.write_text(task.read_text().replace("size = 16", "size = 20"))
    with pytest.raises(DataError, match="registered with another task; run `fed-client data add`"):
        open_registered(load_site_config(site.config))


def test_too_few_patients_for_the_policy_are_refused_at_every_start(site: Site) -> None:
    site.run("add")
    site.config.write_text(site.config.read_text().replace("min_patients = 5", "min_patients = 50"))
    sign_site_file(site.config, site.root / "officer/officer.key")
    with pytest.raises(DataError, match=r"at least 50 patients .* data set v0001 has 12"):
        open_registered(load_site_config(site.config))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"labels_from": "reports"}, "labels_from"),
        ({"labels_from": "guesses"}, "labels_from"),
        ({"accept_reports": ["partial"]}, "accept_reports goes with labels_from = 'reports'"),
        ({"accept_reports": ["wrong"]}, "accept_reports"),
        ({"validation_fraction": 0.6, "test_fraction": 0.5}, "test_fraction"),
    ],
)
def test_a_data_table_that_makes_no_sense_is_refused(site: Site, data: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        site.configure(**data)
