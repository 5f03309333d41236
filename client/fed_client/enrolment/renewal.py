"""Renews the certificate while the daemon runs: with a new key, over a line that shows the old one."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from fed_client.enrolment import desk
from fed_client.flower_link import FlowerLink
from fed_common.errors import FedError
from fed_common.names import SiteName
from fed_common.pki.certificates import read_certificate
from fed_common.pki.key_folder import KeyFolder

logger = logging.getLogger(__name__)

RENEWAL_CHECK_S = 3600.0


def is_due(certificate: x509.Certificate, at: datetime) -> bool:
    """Tell whether two thirds of the certificate's life are over."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return at >= start + (end - start) * 2 / 3


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """Keeps one site's certificate fresh."""

    site: SiteName
    link: FlowerLink

    def renew_if_due(self, at: datetime) -> bool:
        """Tell whether there is a new certificate.

        Raises:
            FedError: the coordinator refuses or can't be reached, or the folder can't be written.
        """
        if not is_due(read_certificate(self.link.credentials), at):
            return False
        keys = KeyFolder(path=self.link.node_key.parent, passphrase=self.link.passphrase)
        ca = read_certificate(self.link.ca)
        request = keys.request(self.site, ca)
        admission = desk.renew(self.link.address, request, context=self.link.tls_context())
        if admission is None:
            logger.info("the coordinator has yet to approve the renewal of this site's certificate")
            return False
        certificate = keys.accept(admission, self.site, ca)
        logger.info(
            "this site's certificate was renewed until %s", f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        )
        return True

    def look(self) -> None:
        """Renew the certificate if it is time; a failure is logged, and there is a month to try again."""
        try:
            self.renew_if_due(datetime.now(UTC))
        except (FedError, OSError) as error:
            logger.warning("this site's certificate can't be renewed now: %s", error)
