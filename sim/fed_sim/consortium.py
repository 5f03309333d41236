"""Turns folders of hospitals into a federation ready to start: keys, certificates and configuration files.

What it writes is what real hospitals and a real coordinator would have, each in a folder of its own:

    OUT/federation.toml, task.toml, public-test.safetensors    the coordinator's
    OUT/<site>/site.toml                                       a hospital's
    OUT/keys/...                                               development certificates

The service reads these files over TLS, `fed-sim run` in one process: one way of working, two exchanges.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from fed_client.dataset.public import load_public_test
from fed_client.dataset.source import OpenReader, reading_processes
from fed_client.policy_commands import sign_site_file
from fed_common.errors import ConfigError, MachineError
from fed_common.key_files import write_officer_keys
from fed_common.models import spec_for
from fed_common.names import SiteName, site_name
from fed_common.plans import SiteTerms
from fed_common.signing import VerifyingKey
from fed_common.task import Task, load_task
from fed_common.test_set import save_test_set
from fed_server.algorithms import FedAvg
from fed_server.dev_certificates import write_dev_certificates
from fed_server.settings import CommunicationTable
from fed_sim.hospitals import PUBLIC_TEST, load_site_terms
from fed_sim.scenario import Scenario

TEST_SET_FILE = "public-test.safetensors"
REFERENCES_FILE = "references.json"


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """The files of one federation on this machine."""

    root: Path
    sites: tuple[SiteName, ...]

    @classmethod
    def at(cls, root: Path) -> "Consortium":
        """Return the federation that was founded in `root` before.

        Raises:
            ConfigError: there is none.
        """
        sites = sorted(path.parent.name for path in root.glob("*/site.toml"))
        if not sites:
            raise ConfigError(f"{root}: no federation here; choose another folder")
        return cls(root=root, sites=tuple(site_name(site) for site in sites))

    @property
    def federation_file(self) -> Path:
        """Return the coordinator's configuration."""
        return self.root / "federation.toml"

    def site_file(self, site: SiteName) -> Path:
        """Return one hospital's configuration."""
        return self.root / site / "site.toml"

    def officer(self, site: SiteName) -> Path:
        """Return the folder of the keys of a hospital's privacy officer."""
        return self.root / "keys" / site / "officer"

    def sign(self, site: SiteName) -> None:
        """Sign a hospital's policy, as its privacy officer would."""
        sign_site_file(self.site_file(site), self.officer(site) / "officer.key")


def found_consortium(
    root: Path,
    *,
    hospitals: Path,
    scenario: Scenario,
    port: int = 8443,
    references: bool = False,
    open_reader: OpenReader = reading_processes,
) -> Consortium:
    """Write all files of a federation of the hospitals in `hospitals` into the new folder `root`.

    Raises:
        ConfigError: `root` holds a federation already, or `hospitals` none.
        MachineError: the disk refuses.
    """
    terms = load_site_terms(hospitals)
    task = load_task(hospitals / "task.toml")
    if scenario.model is not None:
        task = replace(task, model=scenario.model)
    names = tuple(site.name for site in terms)
    if (root / "federation.toml").exists():
        raise ConfigError(f"{root}: holds a federation already; choose another folder")
    write_dev_certificates(
        root / "keys", sites=names, hosts=["127.0.0.1", "localhost"], federation=scenario.name
    )
    consortium = Consortium(root=root, sites=names)
    public_test = hospitals / PUBLIC_TEST
    test_set = load_public_test(public_test, task, open_reader=open_reader) if public_test.is_dir() else None
    try:
        written = tomllib.loads((hospitals / "task.toml").read_text(encoding="utf-8"))
        (root / "task.toml").write_text(tomli_w.dumps({**written, "model": task.model}), encoding="utf-8")
        if test_set is not None:
            save_test_set(root / TEST_SET_FILE, test_set, task)
        tables = _federation_tables(scenario, terms, port=port)
        federation = _named_files(scenario, test_set=test_set is not None, references=references)
        consortium.federation_file.write_text(tomli_w.dumps({"federation": federation, **tables}))
        peers = [VerifyingKey.load(root / "keys" / name / "identity.pub").spoken for name in names]
        for name in names:
            (root / name).mkdir()
            site = _site_tables(scenario, name, hospitals=hospitals.resolve(), task=task, port=port)
            site["policy"] |= {"peers": peers, "require_masks": scenario.aggregation.masks(len(names))}
            consortium.site_file(name).write_text(tomli_w.dumps(site))
            write_officer_keys(consortium.officer(name), passphrase=None)
            consortium.sign(name)
    except OSError as error:
        raise MachineError(f"{root}: can't be written ({error.strerror})") from error
    return consortium


def _named_files(scenario: Scenario, *, test_set: bool, references: bool) -> dict[str, str]:
    files = {"name": scenario.name, "task": "task.toml", "runs": "runs"}
    if test_set:
        files["test_set"] = TEST_SET_FILE
    if references:
        files["references"] = REFERENCES_FILE
    return files


def _federation_tables(
    scenario: Scenario, terms: tuple[SiteTerms, ...], *, port: int
) -> dict[str, dict[str, object] | list[dict[str, object]]]:
    statistics, algorithm, communication = scenario.statistics, scenario.algorithm, scenario.communication
    return {
        "server": {
            "host": "127.0.0.1",
            "port": port,
            "ca": "keys/ca.crt",
            "certificate": "keys/server/tls.crt",
            "key": "keys/server/tls.key",
            "identity": "keys/server/identity.key",
            "registry": "keys/registry",
        },
        "quorum": scenario.quorum.model_dump(exclude_none=True),
        "training": scenario.training.model_dump(exclude_none=True),
        "privacy": scenario.privacy.model_dump(exclude_none=True),
        "evaluation": scenario.evaluation.model_dump(exclude_none=True),
        "aggregation": scenario.aggregation.model_dump(exclude_none=True),
        **({"statistics": statistics.model_dump()} if statistics else {}),
        **({"algorithm": algorithm.model_dump()} if algorithm != FedAvg() else {}),
        **({"personal": scenario.personal.model_dump()} if scenario.personal else {}),
        **({"communication": communication.model_dump()} if communication != CommunicationTable() else {}),
        "sites": [
            {
                "name": site.name,
                "patients": site.patients,
                "officer": f"keys/{site.name}/officer/officer.pub",
            }
            for site in terms
        ],
    }


def _site_tables(
    scenario: Scenario, name: SiteName, *, hospitals: Path, task: Task, port: int
) -> dict[str, dict[str, object]]:
    keys = f"../keys/{name}"
    policy = scenario.policy.model_dump(exclude_none=True)
    model = spec_for(task)
    return {
        "site": {
            "name": name,
            "task": "../task.toml",
            "identity": f"{keys}/identity.key",
            "officer": f"{keys}/officer/officer.pub",
            "state": "state",
            "witness": "ledger.witness",
        },
        "server": {
            "address": f"https://127.0.0.1:{port}",
            "ca": "../keys/ca.crt",
            "identity": "../keys/server/identity.pub",
            "node_key": f"{keys}/node.key",
        },
        "data": {
            "images": str(hospitals / name / "images"),
            "labels": str(hospitals / name / "labels.csv"),
            "validation_fraction": 0.2,
            "test_fraction": scenario.data.site_test_fraction,
        },
        "policy": {
            "epsilon": scenario.privacy.epsilon,
            "delta": scenario.privacy.delta,
            "allowed_models": [model.fingerprint],
            **policy,
        },
    }
