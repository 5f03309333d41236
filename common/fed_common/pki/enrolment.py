"""What a site sends to be enrolled or renewed, and what makes the coordinator believe it.

1. The site's identity key signs the whole request: whoever sends it holds that key.
2. The certificate request inside is signed with the TLS key that it asks to certify.
3. `proof` is an HMAC under a key made from the invitation's secret: its sender was given the invitation.
4. `ca` is the CA that the site has pinned. The six words that both sides read to each other are of the
   whole request: somebody between them can change nothing in it, nor be it.

A renewal comes over a connection with the certificate that it renews, and has no proof.
"""

import hmac
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fed_common import canonical
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.names import Digest, SiteName, digest_of, run_id, site_name
from fed_common.pki.certificates import is_p256
from fed_common.pki.words import six_words
from fed_common.signed_fact import signature_of, verify_signature
from fed_common.signing import SigningKey, VerifyingKey

# Where the desk answers on the public port.
DESK_PREFIX = "/v1/enrolment/"
MAX_REQUEST_BYTES = 8192
SECRET_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class EnrolmentRequest:
    """A site's three public keys as text (PEM, PEM, OpenSSH), and whom it means to join."""

    federation: str
    site: SiteName
    ca: Digest
    csr: str
    identity: str
    node_key: str
    proof: str = ""

    @property
    def digest(self) -> Digest:
        """Identify the request."""
        return canonical.digest(self)

    @property
    def words(self) -> str:
        """Return what both sides read to each other."""
        return six_words(self.digest)

    def proven_with(self, key: Digest) -> "EnrolmentRequest":
        """Return the request with the proof that its sender knows the secret of this `proof_key`."""
        unproven = canonical.encode(replace(self, proof=""))
        return replace(self, proof=hmac.digest(bytes.fromhex(key), unproven, "sha256").hex())

    def is_proven_with(self, key: Digest) -> bool:
        """Tell whether the sender did; takes the same time for every wrong proof."""
        return hmac.compare_digest(self.proof.encode(), self.proven_with(key).proof.encode())


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """A request on its way, with the signature of the identity key that it names."""

    request: EnrolmentRequest
    signature: str


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The coordinator's answer, each as PEM: the certificate, and the key with which it signs plans."""

    certificate: str
    coordinator: str


def proof_key(secret: bytes) -> Digest:
    """Return what proofs are made with: the server checks them with it, and keeps no secret."""
    return digest_of(b"fed invitation v1" + secret)


def sign_request(request: EnrolmentRequest, identity: SigningKey) -> bytes:
    """Return the request as it travels."""
    return canonical.encode(SignedRequest(request=request, signature=signature_of(request, identity)))


def verified_request(raw: bytes) -> EnrolmentRequest:
    """Return a request whose sender holds the keys that it names; the proof is still to be checked.

    Raises:
        MalformedMessageError: it is no request.
        TrustError: a key is of the wrong kind, or its holder didn't sign.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise MalformedMessageError(f"a request of {len(raw)} bytes, at most {MAX_REQUEST_BYTES} are read")
    signed = canonical.decode(raw, SignedRequest)
    request = signed.request
    _refuse_strange_names(request)
    verify_signature(request, signed.signature, VerifyingKey.from_pem(request.identity.encode()))
    requested_key(request.csr)
    node_key_pem(request.node_key)
    return request


def _refuse_strange_names(request: EnrolmentRequest) -> None:
    """Return only if no name could be mistaken for a path: the site's becomes a file's."""
    try:
        site_name(request.site)
        run_id(request.federation)
    except ConfigError as error:
        raise MalformedMessageError(f"not a request: {error}") from error


def requested_key(csr: str) -> EllipticCurvePublicKey:
    """Return the key that a PEM request asks to certify, and proves to hold.

    Raises:
        TrustError: it isn't signed with its own P-256 key.
    """
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        proven, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise TrustError("not a certificate request") from error
    if not proven or not is_p256(key) or not isinstance(key, EllipticCurvePublicKey):
        raise TrustError("a certificate request must be signed with its own P-256 key")
    return key


def node_key_pem(openssh: str) -> bytes:
    """Return a public node key as PEM, the form in which Flower compares it.

    Raises:
        TrustError: it is no P-256 key in OpenSSH's form.
    """
    try:
        key = load_ssh_public_key(openssh.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError("a node key must be in OpenSSH's form") from error
    if not is_p256(key):
        raise TrustError("a node key must be a P-256 key (ecdsa-sha2-nistp256)")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
