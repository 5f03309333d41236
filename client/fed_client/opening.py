"""Opens a site from its configuration: keys, images, ledger; the same for the daemon and the simulation."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fed_client.answers import AnswerStore
from fed_client.config import SiteConfig, verify_signature
from fed_client.countersignature import countersignature_of
from fed_client.dataset import SiteDataset
from fed_client.dataset.manifest import warnings_of
from fed_client.dataset.registration import differences, register
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.source import OpenReader, Progress, SiteKeys, reading_processes
from fed_client.dataset.versions import Version, latest_version
from fed_client.model_validation import refuse_unsafe
from fed_client.officer_succession import told
from fed_client.plan_memory import PlanMemory
from fed_client.private_step import MakeStep, private_step
from fed_client.prv import PrvAccountant
from fed_client.signed_policy import remember_officer
from fed_client.site import Site, SiteIdentity
from fed_client.site_log import SiteLog
from fed_client.site_secret import site_secret
from fed_common.accounting import PldAccountant
from fed_common.audit_log.facts import SiteOpened
from fed_common.audit_log.log import AuditLog
from fed_common.code_version import code_digest
from fed_common.errors import DataError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.machine import settle_in
from fed_common.models import spec_for
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import VerifyingKey

logger = logging.getLogger(__name__)

ACCOUNTANTS = (PrvAccountant(), PldAccountant())


@contextmanager
def opened_site(
    config: SiteConfig,
    *,
    randomness: Randomness | None = None,
    make_step: MakeStep = private_step,
    on_image: Progress | None = None,
) -> Iterator[Site]:
    """Hold the site's ledger and yield the site, ready to answer.

    `randomness` is the operating system's and `make_step` the fastest unless a test brings another; no
    configuration reaches them.

    Raises:
        FedError: of the family that says who must act; see `refuse_unsafe`, `open_registered` and
            `PrivacyLedger.held`.
    """
    settle_in(config.threads)
    code_digest()  # now, and kept: files that are exchanged later are not the code that runs
    refuse_unsafe(spec_for(config.task), several_labels=config.task.multi_label, make_step=make_step)
    identity = SiteIdentity(
        name=config.name,
        key=config.signing_key,
        coordinator=VerifyingKey.load(config.coordinator),
    )
    officer = VerifyingKey.load(config.officer).fingerprint
    signed = verify_signature(config).signed
    version, dataset = open_registered(config, on_image=on_image)
    config.policy.refuse_weak_delta(version.manifest.patients)
    _tell(version)
    with PrivacyLedger.held(
        config.ledger,
        witness=config.witness,
        key=identity.key,
        subject=LedgerSubject(
            site=config.name,
            dataset=dataset.digest,
            unit=config.terms.unit,
            officer=officer,
            policy=config.terms.digest,
        ),
        costliest=config.policy.costliest_round(),
    ) as ledger:
        countersignature = countersignature_of(config)
        countersignature.refuse_older(ledger.record)
        # Not before: of an officer whom the ledger refuses, no trace may keep the right one out.
        remember_officer(config.state, officer, signed=signed)
        for change in ledger.record.changes:
            logger.warning("%s", told(change))
        log = AuditLog(config.audit)
        opened = SiteOpened(dataset=dataset.digest, policy=config.terms.digest, code=code_digest())
        log.write(config.name, opened)
        yield Site(
            identity=identity,
            task=config.task,
            dataset=dataset,
            policy=config.policy,
            ledger=ledger,
            answers=AnswerStore(config.state / "answers"),
            countersignature=countersignature,
            plans=PlanMemory(
                folder=config.state / "plans",
                key=identity.key,
                coordinator=identity.coordinator,
                task=config.task.digest,
            ),
            log=SiteLog(site=config.name, log=log),
            accountants=ACCOUNTANTS,
            randomness=randomness or SystemRandomness(),
            make_step=make_step,
            noise_threads=1 if randomness else config.threads,  # another's draws may have an order
        )


def open_registered(config: SiteConfig, *, on_image: Progress | None = None) -> tuple[Version, SiteDataset]:
    """Return the newest version and what is in it; only if there is none, the folder is registered first.

    Raises:
        DataError: the version isn't what site.toml asks for; see also `register`.
    """
    secret = site_secret(config.state)
    version = latest_version(config.datasets, config.signing_key.verifying_key)
    if version is None:
        version = register_configured(config, on_image=on_image)
    differs = differences(version, config.source_in_force, config.task)
    if differs:
        raise DataError(
            f"data set {version.name} was registered with another {differs}; run `fed-client data add`"
        )
    if version.manifest.patients < config.policy.min_patients:
        raise DataError(
            f"at least {config.policy.min_patients} patients with a usable image are needed, "
            f"data set {version.name} has {version.manifest.patients}; run `fed-client data add`"
        )
    return version, open_dataset(version, config.task, site_secret=secret)


def register_configured(
    config: SiteConfig, *, open_reader: OpenReader = reading_processes, on_image: Progress | None = None
) -> Version:
    """Return the version that holds what is in the folder now; see `register`."""
    return register(
        config.source_in_force,
        task=config.task,
        keys=site_keys(config),
        folder=config.datasets,
        min_patients=config.policy.min_patients,
        open_reader=open_reader,
        on_image=on_image,
    )


def site_keys(config: SiteConfig) -> SiteKeys:
    """Return what the site signs and encrypts with.

    Raises:
        TrustError: a key is missing or open to others.
    """
    return SiteKeys(identity=config.signing_key, secret=site_secret(config.state))


def _tell(version: Version) -> None:
    for side in version.manifest.sides:
        logger.info(
            "data set %s, %s: %d patients, %d images", version.name, side.side, side.patients, side.images
        )
    for left_out in version.manifest.quarantine:
        logger.warning("left out: %d x %s", left_out.count, left_out.name)
    for problem in version.manifest.label_problems:
        logger.warning("labels: %d x %s", problem.count, problem.name)
    for warning in warnings_of(version.manifest):
        logger.warning("%s", warning)
