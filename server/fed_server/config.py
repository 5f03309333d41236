"""federation.toml: who takes part, what is trained, and under which terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.names import SiteName, run_id, site_name
from fed_common.plans import SiteTerms
from fed_common.proposal import EvaluationTable, PrivacyTable, StatisticsTable
from fed_common.reference import References, load_references
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.task import load_task
from fed_common.test_set import TestSet, load_test_set
from fed_server.flower_link import TlsFiles
from fed_server.settings import AggregationTable, QuorumTable, RunSettings, TrainingTable


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


class _SiteTable(ConfigTable):
    name: str
    patients: Annotated[int, Field(ge=1)]
    identity: Path
    node_key: Path
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


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """The checked file with the keys it names; paths are relative to where the file stands."""

    settings: RunSettings
    runs: Path
    test_set: TestSet | None
    references: References | None
    address: tuple[str, int]
    tls: TlsFiles
    identity: SigningKey
    site_keys: Mapping[SiteName, VerifyingKey]
    officer_keys: Mapping[SiteName, VerifyingKey]
    node_keys: Mapping[SiteName, Path]


def runs_folder(path: Path) -> Path:
    """Return where the runs are; no key is needed to look at them.

    Raises:
        ConfigError: the file is missing or says something that is not allowed.
    """
    return path.parent / load_config(path, _FederationFile).federation.runs


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
        quorum=file.quorum,
    )
    test_set, references = file.federation.test_set, file.federation.references
    server = file.server
    return FederationConfig(
        settings=settings,
        runs=here / file.federation.runs,
        test_set=load_test_set(here / test_set, task) if test_set else None,
        references=load_references(here / references, task=task.digest) if references else None,
        address=(server.host, server.port),
        tls=TlsFiles(ca=here / server.ca, certificate=here / server.certificate, key=here / server.key),
        identity=SigningKey.load(here / server.identity),
        site_keys={
            name: VerifyingKey.load(here / site.identity)
            for name, site in zip(names, file.sites, strict=True)
        },
        officer_keys={
            name: VerifyingKey.load(here / site.officer)
            for name, site in zip(names, file.sites, strict=True)
            if site.officer is not None
        },
        node_keys={name: here / site.node_key for name, site in zip(names, file.sites, strict=True)},
    )


def _short(name: str) -> str:
    """Return the name if it can begin a run id, which adds nine characters."""
    if len(name) > 50:
        raise ConfigError(f"federation.name must have at most 50 characters, got {len(name)}")
    return run_id(name)
