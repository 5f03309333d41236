"""A site whose policy an officer has signed, started and charged without its images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client.site_files import write_site
from tests.fakes import RUN

from fed_client.config import SiteConfig, load_site_config, verify_signature
from fed_client.signed_policy import remember_officer
from fed_common.accounting import Spend
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.names import Digest
from fed_common.signing import SigningKey, VerifyingKey

SPEND = Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2)


def site_over(folder: Path, images: Path, **site: object) -> Path:
    """Return a site.toml whose officer is beside its folder; it is not signed yet."""
    officer = {"officer": "../officer/officer.pub"}
    return write_site(folder, site=officer | site, data={"images": str(images)})


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def started(site_file: Path) -> SiteConfig:
    """Do what a start does before it opens anything."""
    config = load_site_config(site_file)
    remember_officer(config.state, officer_of(config), signed=verify_signature(config).signed)
    return config


def officer_of(config: SiteConfig) -> Digest:
    return VerifyingKey.load(config.officer).fingerprint


@contextmanager
def held(config: SiteConfig) -> Iterator[PrivacyLedger]:
    with PrivacyLedger.held(
        config.ledger,
        witness=config.witness,
        key=SigningKey.load(config.identity),
        subject=LedgerSubject(
            site=config.name,
            dataset=Digest("d"),
            unit=config.terms.unit,
            officer=officer_of(config),
            policy=config.terms.digest,
        ),
        costliest=SPEND,
    ) as ledger:
        yield ledger


def charge(config: SiteConfig) -> None:
    with held(config) as ledger:
        ledger.charge(RUN, len(ledger.events), "train", SPEND)


def spent(config: SiteConfig) -> list[Spend]:
    with held(config) as ledger:
        return list(ledger.spends)
