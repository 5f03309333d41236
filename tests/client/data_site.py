"""A hospital for tests of `fed-client data`: a signed site.toml, and images that a canary gives away."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.client.dataset.folders import Folder
from tests.client.site_files import write_site, write_tables
from typer.testing import CliRunner

from fed_client.config import SiteConfig
from fed_client.data_commands import app
from fed_client.opening import site_keys
from fed_client.policy_commands import sign_site_file
from fed_common.errors import FedError
from fed_common.key_files import write_officer_keys
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.names import Digest

CANARY = "CANARY7341"
POLICY: dict[str, object] = {"min_patients": 5}


@dataclass
class Site:
    """A hospital with a site.toml, and 12 images whose names and patients must never show."""

    root: Path
    folder: Folder

    @property
    def config(self) -> Path:
        return self.root / "site.toml"

    def configure(self, **data: object) -> None:
        write_tables(self.config, data=data, policy=POLICY)
        sign_site_file(self.config, self.root / "officer/officer.key")

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run a command; what it raises for `main` to print is raised here."""
        self.folder.labels.write_text("\n".join(self.folder.rows))
        result = CliRunner().invoke(app, [*arguments, "--config", str(self.config)], input=typed)
        if isinstance(result.exception, FedError):
            raise type(result.exception)(f"{result.exception}; it had printed: {result.output}")
        assert result.exit_code == 0, result.output
        return result.output


def make_site(root: Path) -> Site:
    site = Site(root=root, folder=Folder(root))
    write_officer_keys(root / "officer", passphrase=None)
    write_site(root, size=16)
    site.configure()
    for number in range(12):
        # Alphabetical, so that the number in the name is the number of the file.
        site.folder.add(number, patient=f"{CANARY}-{number}", name=f"{CANARY}-{number:02}.dcm")
    return site


def ledger_of(settings: SiteConfig, dataset: Digest) -> AbstractContextManager[PrivacyLedger]:
    return PrivacyLedger.held(
        settings.ledger,
        witness=settings.witness,
        key=site_keys(settings).identity,
        subject=LedgerSubject(
            site=settings.name,
            dataset=dataset,
            unit="patient",
            officer=Digest("o"),
            policy=settings.policy.digest,
        ),
        costliest=settings.policy.costliest_round(),
    )
