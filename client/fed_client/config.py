"""site.toml: who this hospital is, where its images are, and what it allows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fed_client.dataset.manifest import LabelSource
from fed_client.dataset.source import Source
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import datasets_folder
from fed_client.images import ReportFlaw
from fed_client.pacs.config import PacsTable
from fed_client.policy import SitePolicy
from fed_client.signed_policy import PolicyStatement, PolicyTerms, signature_file, verified_policy
from fed_client.withdrawal.withdrawn import read_withdrawn
from fed_common.config import ConfigTable, load_config
from fed_common.names import SiteName, site_name
from fed_common.signing import SigningKey, VerifyingKey, refuse_shared_key_file
from fed_common.task import Task, load_task


class _SiteTable(ConfigTable):
    name: str
    task: Path
    identity: Path
    officer: Path
    state: Path
    witness: Path
    passphrase_file: Path | None = None
    threads: Annotated[int, Field(ge=1)] = 1


class _ServerTable(ConfigTable):
    address: str
    ca: Path
    identity: Path
    node_key: Path


class _DataTable(ConfigTable):
    images: Path
    labels: Path | None = None
    labels_from: LabelSource = "list"
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    file_is_patient: bool = False
    accept_reports: tuple[ReportFlaw, ...] = ()
    defacing_attested: bool = False

    @model_validator(mode="after")
    def _list_is_named(self) -> "_DataTable":
        if (self.labels is None) != (self.labels_from != "list"):
            raise ValueError("labels, the path of a list, goes with labels_from = 'list' and needs it")
        return self

    @model_validator(mode="after")
    def _reports_are_read(self) -> "_DataTable":
        if self.accept_reports and self.labels_from != "reports":
            raise ValueError("accept_reports goes with labels_from = 'reports'")
        return self


class _PolicyTable(ConfigTable):
    epsilon: float
    delta: float = 1e-5
    min_noise_multiplier: float = 0.5
    min_evaluation_noise: float = 1.0
    allow_statistics: bool = True
    min_statistics_noise: float = 4.0
    max_clip_norm: float = 10.0
    max_sampling_rate: float = 0.5
    max_steps_per_round: Annotated[int, Field(ge=1)] = 100
    max_images_per_patient: Annotated[int, Field(ge=1)] = 16
    min_cohort: Annotated[int, Field(ge=1)] = 2
    min_patients: Annotated[int, Field(ge=1)] = 50
    peers: tuple[str, ...] = ()
    require_masks: bool = False
    beyond_limits: Literal["refuse", "tighten"] = "refuse"
    allowed_models: tuple[str, ...]


class _SiteFile(ConfigTable):
    site: _SiteTable
    server: _ServerTable
    data: _DataTable
    policy: _PolicyTable
    pacs: PacsTable | None = None


@dataclass(frozen=True, kw_only=True)
class SiteConfig:
    """The checked file; every path is absolute or relative to where the file stands."""

    name: SiteName
    task: Task
    identity: Path
    officer: Path
    state: Path
    witness: Path
    address: str
    ca: Path
    coordinator: Path
    node_key: Path
    source: Source
    terms: PolicyTerms
    signature: Path
    pacs: PacsTable | None
    passphrase_file: Path | None = None
    threads: int = 1

    @property
    def passphrase(self) -> bytes | None:
        """Return what the site's private keys are encrypted with, None where they aren't.

        Raises:
            TrustError: its file is missing, or open to others.
        """
        if self.passphrase_file is None:
            return None
        refuse_shared_key_file(self.passphrase_file)
        return self.passphrase_file.read_bytes().rstrip(b"\r\n")

    @property
    def signing_key(self) -> SigningKey:
        """Return the site's identity.

        Raises:
            TrustError: its file can't be used, or wants another passphrase.
        """
        return SigningKey.load(self.identity, passphrase=self.passphrase)

    @property
    def source_in_force(self) -> Source:
        """Return the source without the patients who withdrew.

        Raises:
            TrustError: the list of them was altered, or a key can't be used.
        """
        return replace(self.source, withdrawn=read_withdrawn(self.state, self.signing_key.verifying_key))

    @property
    def policy(self) -> SitePolicy:
        """Return the hospital's limits."""
        return self.terms.policy

    @property
    def ledger(self) -> Path:
        """Return where the privacy ledger is."""
        return self.state / "ledger" / "ledger.jsonl"

    @property
    def audit(self) -> Path:
        """Return where the audit log is."""
        return self.state / "audit" / "log.jsonl"

    @property
    def datasets(self) -> Path:
        """Return where the versions of the data set for this task are."""
        return datasets_folder(self.state, self.task)


def load_site_config(path: Path) -> SiteConfig:
    """Return what site.toml says and the privacy officer has signed.

    Raises:
        ConfigError: see `read_site_config`.
        TrustError: the officer's public key can't be used.
        PrivacyError: the policy is unsigned or was changed since; the message says what to run.
    """
    config = read_site_config(path)
    verify_signature(config)
    return config


def verify_signature(config: SiteConfig) -> PolicyStatement:
    """Return what the officer signed, if it is what the configuration says; see `verified_policy`."""
    officer = VerifyingKey.load(config.officer)
    return verified_policy(config.terms, signature=config.signature, officer=officer, state=config.state)


def read_site_config(path: Path) -> SiteConfig:
    """Return what site.toml says, signed or not: for signing it, and for looking into what is wrong.

    Raises:
        ConfigError: the file, or a file it names, is missing or says something that is not allowed.
    """
    file = load_config(path, _SiteFile)
    here = path.parent
    return SiteConfig(
        name=site_name(file.site.name),
        task=load_task(here / file.site.task),
        identity=here / file.site.identity,
        officer=here / file.site.officer,
        state=here / file.site.state,
        witness=here / file.site.witness,
        address=file.server.address,
        ca=here / file.server.ca,
        coordinator=here / file.server.identity,
        node_key=here / file.server.node_key,
        source=Source(
            images=here / file.data.images,
            labels=here / (file.data.labels or ""),
            labels_from=file.data.labels_from,
            fractions=Fractions(validation=file.data.validation_fraction, test=file.data.test_fraction),
            file_is_patient=file.data.file_is_patient,
            accept_reports=tuple(sorted(set(file.data.accept_reports))),
            defacing_attested=file.data.defacing_attested,
        ),
        terms=PolicyTerms(
            site=site_name(file.site.name),
            images=str(file.data.images),
            # By what is allowed, not by what is there: a file without a name would show in every statement.
            unit="image file" if file.data.file_is_patient else "patient",
            state=str(file.site.state),
            witness=str(file.site.witness),
            policy=SitePolicy(**file.policy.model_dump()),
        ),
        signature=signature_file(path),
        pacs=file.pacs,
        passphrase_file=here / file.site.passphrase_file if file.site.passphrase_file else None,
        threads=file.site.threads,
    )
