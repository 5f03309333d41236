"""federation.toml: who takes part, what is trained, and under which terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fed_common.audit_log.log import AuditLog
from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.names import SiteName, run_id, site_name
from fed_common.personal import PersonalChoice
from fed_common.plans import SiteTerms
from fed_common.proposal import EvaluationTable, PrivacyTable, StatisticsTable
from fed_common.reference import References, load_references
from fed_common.signing import SigningKey, VerifyingKey, is_encrypted_key
from fed_common.task import load_task
from fed_common.test_set import TestSet, load_test_set
from fed_server.algorithms import AlgorithmTable, FedAvg
from fed_server.authority.authority import Authority
from fed_server.door.door import Door
from fed_server.door.tls import TlsFiles
from fed_server.registry.keys import IdentityKeys
from fed_server.registry.registry import Registry
from fed_server.settings import (
    AggregationTable,
    CommunicationTable,
    QuorumTable,
    RunSettings,
    TrainingTable,
)


class _FederationTable(ConfigTable):
    name: str
    task: Path
    runs: Path
    test_set: Path | None = None
    references: Path | None = None


class _ServerTable(ConfigTable):
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    ca: Path
    certificate: Path
    key: Path
    identity: Path
    registry: Path = Path("registry")


class _SiteTable(ConfigTable):
    name: str
    patients: Annotated[int, Field(ge=1)]
    officer: Path | None = None


class _FederationFile(ConfigTable):
    federation: _FederationTable
    server: _ServerTable
    sites: Annotated[tuple[_SiteTable, ...], Field(min_length=1)]
    quorum: QuorumTable
    training: TrainingTable
    privacy: PrivacyTable
    evaluation: EvaluationTable = EvaluationTable()
    aggregation: AggregationTable = AggregationTable()
    statistics: StatisticsTable | None = None
    algorithm: AlgorithmTable = FedAvg()
    personal: PersonalChoice | None = None
    communication: CommunicationTable = CommunicationTable()


@dataclass(frozen=True, kw_only=True)
class TrustFiles:
    """What federation.toml says about keys, certificates and sites; none of the files need exist yet."""

    federation: str
    sites: tuple[SiteName, ...]
    address: tuple[str, int]
    tls: TlsFiles
    identity: Path
    registry: Path
    runs: Path

    @property
    def ca_key(self) -> Path:
        """Return where the CA's key is, unless it was taken away."""
        return self.tls.ca.with_suffix(".key")

    def open_registry(self) -> Registry:
        """Return the register of sites.

        Raises:
            TrustError: the coordinator's key can't be used.
        """
        return Registry(folder=self.registry, key=SigningKey.load(self.identity), log=audit_log_in(self.runs))

    def door(self) -> Door:
        """Return the public port; it renews certificates where the CA's key lies open beside its certificate.

        Raises:
            TrustError: a key can't be used.
        """
        authority = None
        if self.ca_key.exists() and not is_encrypted_key(self.ca_key):
            authority = Authority.load(self.tls.ca, self.ca_key)
        return Door(address=self.address, tls=self.tls, registry=self.open_registry(), authority=authority)


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """The checked file with the keys it names; paths are relative to where the file stands."""

    settings: RunSettings
    runs: Path
    test_set: TestSet | None
    references: References | None
    door: Door
    identity: SigningKey
    officer_keys: Mapping[SiteName, VerifyingKey]

    @property
    def log(self) -> AuditLog:
        """Return the coordinator's audit log."""
        return audit_log_in(self.runs)

    @property
    def site_keys(self) -> Mapping[SiteName, VerifyingKey]:
        """Return the keys with which enrolled sites sign; it changes as they come and go."""
        return IdentityKeys(self.door.registry, enrolled=True)


def runs_folder(path: Path) -> Path:
    """Return where the runs are; no key is needed to look at them.

    Raises:
        ConfigError: the file is missing or says something that is not allowed.
    """
    return path.parent / load_config(path, _FederationFile).federation.runs


def audit_log_in(runs: Path) -> AuditLog:
    """Return the coordinator's audit log, which lies beside the runs and is about all of them."""
    return AuditLog(runs / "audit-log.jsonl")


def load_trust_files(path: Path) -> TrustFiles:
    """Return what federation.toml says about trust.

    Raises:
        ConfigError: the file is missing or says something that is not allowed.
    """
    return _trust_files(load_config(path, _FederationFile), path.parent)


def _trust_files(file: _FederationFile, here: Path) -> TrustFiles:
    server = file.server
    return TrustFiles(
        federation=_short(file.federation.name),
        sites=tuple(site_name(site.name) for site in file.sites),
        address=(server.host, server.port),
        tls=TlsFiles(ca=here / server.ca, certificate=here / server.certificate, key=here / server.key),
        identity=here / server.identity,
        registry=here / server.registry,
        runs=here / file.federation.runs,
    )


def load_federation_config(path: Path) -> FederationConfig:
    """Return what federation.toml says.

    Raises:
        ConfigError: the file, or a file it names, is missing or says something that is not allowed.
        TrustError: a key can't be used.
    """
    file = load_config(path, _FederationFile)
    here = path.parent
    task = load_task(here / file.federation.task)
    names = [site_name(site.name) for site in file.sites]
    settings = RunSettings(
        name=_short(file.federation.name),
        task=task,
        cohort=tuple(
            SiteTerms(name=name, patients=site.patients) for name, site in zip(names, file.sites, strict=True)
        ),
        training=file.training,
        privacy=file.privacy,
        evaluation=file.evaluation,
        aggregation=file.aggregation,
        statistics=file.statistics,
        algorithm=file.algorithm,
        personal=file.personal,
        communication=file.communication,
        quorum=file.quorum,
    )
    test_set, references = file.federation.test_set, file.federation.references
    trust = _trust_files(file, here)
    identity = SigningKey.load(trust.identity)
    return FederationConfig(
        settings=settings,
        runs=here / file.federation.runs,
        test_set=load_test_set(here / test_set, task) if test_set else None,
        references=load_references(here / references, task=task.digest) if references else None,
        door=trust.door(),
        identity=identity,
        officer_keys={
            name: VerifyingKey.load(here / site.officer)
            for name, site in zip(names, file.sites, strict=True)
            if site.officer is not None
        },
    )


def _short(name: str) -> str:
    """Return the name if it can begin a run id, which adds nine characters."""
    if len(name) > 50:
        raise ConfigError(f"federation.name must have at most 50 characters, got {len(name)}")
    return run_id(name)
