"""Opens a site from its configuration: keys, images, ledger; the same for the daemon and the simulation."""

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fed_client.answers import AnswerStore
from fed_client.config import SiteConfig
from fed_client.dataset import SiteDataset, load_dataset
from fed_client.prv import PrvAccountant
from fed_client.site import Site, SiteIdentity
from fed_common.accounting import PldAccountant
from fed_common.errors import MachineError, TrustError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.machine import settle_in
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import SigningKey, VerifyingKey, refuse_shared_key_file

logger = logging.getLogger(__name__)

ACCOUNTANTS = (PrvAccountant(), PldAccountant())


@contextmanager
def opened_site(
    config: SiteConfig,
    *,
    randomness: Randomness | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Iterator[Site]:
    """Hold the site's ledger and yield the site, ready to answer.

    `randomness` is the operating system's unless a test brings another; no configuration reaches it.

    Raises:
        FedError: of the family that says who must act; see `load_dataset` and `PrivacyLedger.held`.
    """
    settle_in()
    identity = SiteIdentity(
        name=config.name,
        key=SigningKey.load(config.identity),
        coordinator=VerifyingKey.load(config.coordinator),
    )
    dataset = load_dataset(
        config.images,
        config.labels,
        task=config.task,
        pseudonym_key=_pseudonym_key(config.state / "pseudonym.key"),
        validation_fraction=config.validation_fraction,
        min_patients=config.policy.min_patients,
        on_image=on_image,
    )
    num_patients = dataset.train.num_patients + dataset.validation.num_patients
    config.policy.refuse_weak_delta(num_patients)
    _tell(dataset)
    with PrivacyLedger.held(
        config.ledger,
        witness=config.witness,
        key=identity.key,
        subject=LedgerSubject(site=config.name, dataset=dataset.digest, policy=config.policy.digest),
        costliest=config.policy.costliest_round(),
    ) as ledger:
        yield Site(
            identity=identity,
            task=config.task,
            dataset=dataset,
            policy=config.policy,
            ledger=ledger,
            answers=AnswerStore(config.state / "answers"),
            accountants=ACCOUNTANTS,
            randomness=randomness or SystemRandomness(),
        )


def _tell(dataset: SiteDataset) -> None:
    logger.info(
        "%d patients to train on (%d images), %d to validate on (%d images)",
        dataset.train.num_patients,
        len(dataset.train.labels_N),
        dataset.validation.num_patients,
        len(dataset.validation.labels_N),
    )
    if dataset.unreadable:
        logger.warning("%d images can't be used and are left out:", len(dataset.unreadable))
    for file in dataset.unreadable:
        logger.warning("image %d: %s", file.index, file.reason)


def _pseudonym_key(path: Path) -> bytes:
    """Return the site's own secret, made at the first start; the same key gives the same pseudonyms."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
        refuse_shared_key_file(path)
        key = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path}: can't be used ({error.strerror})") from error
    if len(key) != 32:
        raise TrustError(f"{path}: must hold 32 bytes, got {len(key)}; restore it from backup")
    return key
