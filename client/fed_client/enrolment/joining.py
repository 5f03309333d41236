"""A hospital's way into a federation, online or by three files; interrupted, it goes on where it was.

1. The invitation names the CA, and its certificate comes over the line, or in a file, and is compared.
2. The keys are made here.
3. The request goes to the coordinator, and its six words are read to a person there.
4. The certificate comes back, and is kept if it is the CA's, for this site and for the key that was made.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fed_client.enrolment import desk
from fed_common import canonical
from fed_common.errors import ConfigError, MachineError, TrustError
from fed_common.files import write_atomically
from fed_common.pki.certificates import fingerprint, read_certificate
from fed_common.pki.enrolment import Admission, verified_request
from fed_common.pki.invitation import Invitation
from fed_common.pki.key_folder import KeyFolder

POLL_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Joining:
    """One site on its way in; what it needs to go on is in its folder of keys."""

    keys: KeyFolder
    tell: Callable[[str], None]

    def online(
        self, invitation: Invitation, *, patience_s: float, poll_s: float = POLL_S
    ) -> x509.Certificate:
        """Return the certificate once a person has approved; wait for that at most `patience_s`.

        Raises:
            ConfigError: the folder holds an enrolled site's keys.
            TrustError: somebody else answers at the address, or the coordinator refuses.
            MachineError: nobody answers, or nobody has approved yet; the same call later goes on.
        """
        ca = desk.fetch_ca(invitation.address, invitation.ca)  # 1
        request = self._request(invitation, ca)  # 2
        deadline = time.monotonic() + patience_s
        while (admission := desk.ask(invitation.address, request, ca=ca)) is None:  # 3
            if time.monotonic() > deadline:
                raise desk.NotReachedError("nobody has approved yet; the same command later goes on")
            time.sleep(poll_s)
        return self.keys.accept(admission, invitation.site, ca)  # 4

    def request_offline(self, invitation: Path) -> Path:
        """Return the file for the coordinator; `invitation` is one with the line and the CA's certificate.

        Raises:
            ConfigError: the file is no invitation, or the folder holds an enrolled site's keys.
            TrustError: the certificate in it is not the one that the invitation names.
        """
        ca = read_certificate(invitation)  # 1
        invited = Invitation.parse(invitation.read_text(encoding="utf-8").partition("\n")[0])
        if fingerprint(ca) != invited.ca:
            raise TrustError(f"{invitation}: its certificate is not the one that the invitation names")
        self._request(invited, ca)  # 2
        return self.keys.request_file  # 3

    def accept_offline(self, certificate: Path) -> x509.Certificate:
        """Return the certificate in the file that the coordinator sent back.

        Raises:
            ConfigError: nothing was requested, or the file can't be read.
            TrustError: the certificate is not the one that was requested.
        """
        try:
            site = verified_request(self.keys.request_file.read_bytes()).site
            admission = canonical.decode(certificate.read_bytes(), Admission)
        except OSError as error:
            raise ConfigError(f"{error.filename}: can't be read ({error.strerror})") from error
        return self.keys.accept(admission, site, read_certificate(self.keys.ca))  # 4

    def _request(self, invitation: Invitation, ca: x509.Certificate) -> bytes:
        if self.keys.credentials.exists():
            raise ConfigError(f"{self.keys.path}: holds the keys of an enrolled site; choose another folder")
        try:
            if not (self.keys.path / "identity.key").exists():
                self.keys.make()
            request = self.keys.request(invitation.site, ca, secret=invitation.secret)
        except OSError as error:
            raise MachineError(f"{self.keys.path}: can't be written ({error.strerror})") from error
        write_atomically(self.keys.ca, ca.public_bytes(Encoding.PEM))
        self.tell(f"six words to read to the coordinator: {verified_request(request).words}")
        return request
