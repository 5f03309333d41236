"""Nobody gets in without an invitation and a person's word, and each invitation counts once (fault 73)."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from tests.authority_samples import authority
from tests.server.authority.enrolling import CA, DAY_S, NORTH, SOUTH, enrol

from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.names import SiteName
from fed_common.pki.certificates import verified_site
from fed_common.pki.enrolment import sign_request, verified_request
from fed_common.pki.key_folder import KeyFolder
from fed_server.registry.admission import Admissions
from fed_server.registry.standing import MAX_TRIES


def test_a_site_that_was_invited_waits_until_a_person_approves(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys, secret = next(new_keys), admissions.invite(NORTH, ttl_s=DAY_S)
    raw = keys.request(NORTH, CA.certificate, secret=secret)
    assert admissions.ask(raw).state == "waiting"
    assert admissions.ask(raw).certificates == ()
    granted = admissions.approve(NORTH, CA, words=verified_request(raw).words)
    assert admissions.ask(raw) == granted and granted.state == "enrolled"
    certificate = x509.load_pem_x509_certificate(granted.certificates[0].encode())
    assert verified_site(certificate, ca=CA.certificate) == NORTH


def test_the_secret_is_not_in_the_register(admissions: Admissions) -> None:
    secret = admissions.invite(NORTH, ttl_s=DAY_S)
    text = b"".join(path.read_bytes() for path in admissions.registry.folder.iterdir())
    assert secret not in text and secret.hex().encode() not in text


def test_an_invitation_counts_once(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    secret = admissions.invite(NORTH, ttl_s=DAY_S)
    admissions.ask(next(new_keys).request(NORTH, CA.certificate, secret=secret))
    with pytest.raises(TrustError, match="no invitation is open for north: used"):
        admissions.ask(next(new_keys).request(NORTH, CA.certificate, secret=secret))


def test_of_many_at_the_same_moment_one_gets_in(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    secret, let_in = admissions.invite(NORTH, ttl_s=DAY_S), list[str]()

    def ask(raw: bytes) -> None:
        with suppress(TrustError):
            let_in.append(admissions.ask(raw).state)

    requests = [next(new_keys).request(NORTH, CA.certificate, secret=secret) for _ in range(8)]
    threads = [threading.Thread(target=ask, args=(raw,)) for raw in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert let_in == ["waiting"]


def test_an_invitation_expires(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    secret = admissions.invite(NORTH, ttl_s=0.0)
    with pytest.raises(TrustError, match="expired"):
        admissions.ask(next(new_keys).request(NORTH, CA.certificate, secret=secret))


def test_an_invitation_is_for_one_site(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    secret = admissions.invite(NORTH, ttl_s=DAY_S)
    with pytest.raises(TrustError, match="nobody invited south"):
        admissions.ask(next(new_keys).request(SOUTH, CA.certificate, secret=secret))
    admissions.invite(SOUTH, ttl_s=DAY_S)
    with pytest.raises(TrustError, match="not the secret of south's"):
        admissions.ask(next(new_keys).request(SOUTH, CA.certificate, secret=secret))


def test_guessing_closes_the_invitation_even_to_who_knows_it(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys, secret = next(new_keys), admissions.invite(NORTH, ttl_s=DAY_S)
    for left in range(MAX_TRIES - 1, -1, -1):
        with pytest.raises(TrustError, match=f"{left} tries are left"):
            admissions.ask(keys.request(NORTH, CA.certificate, secret=bytes([left])))
    with pytest.raises(TrustError, match="no invitation is open"):
        admissions.ask(keys.request(NORTH, CA.certificate, secret=secret))


@pytest.mark.parametrize("name", ["../../etc/cron", "/tmp/x", "north/../south", "", "North", "a" * 64])
def test_a_site_s_name_can_not_be_a_path(
    admissions: Admissions, new_keys: Iterator[KeyFolder], name: str, tmp_path: Path
) -> None:
    keys, before = next(new_keys), set(tmp_path.rglob("*"))
    request = replace(verified_request(keys.request(NORTH, CA.certificate)), site=SiteName(name))
    with pytest.raises(MalformedMessageError, match="site name must be"):
        admissions.ask(sign_request(request, keys.identity))
    assert {path.name for path in set(tmp_path.rglob("*")) - before} == {"tls.key", "request.json"}


def test_names_that_nobody_invited_leave_nothing_behind(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    raw = next(new_keys).request(SOUTH, CA.certificate, secret=b"guessed")
    with pytest.raises(TrustError, match="nobody invited south"):
        admissions.ask(raw)
    assert not admissions.registry.folder.exists()


def test_a_request_for_another_ca_or_federation_is_refused(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    secret = admissions.invite(NORTH, ttl_s=DAY_S)
    for other in (authority(), authority("elsewhere")):
        with pytest.raises(TrustError, match="the request is for another"):
            admissions.ask(next(new_keys).request(NORTH, other.certificate, secret=secret))
    assert admissions.registry.standing(NORTH).tries == 0


def test_who_is_enrolled_is_not_invited_again_before_being_revoked(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    enrol(admissions, next(new_keys))
    with pytest.raises(ConfigError, match="enrolled already"):
        admissions.invite(NORTH, ttl_s=DAY_S)
    standing = admissions.revoke(NORTH, "the laptop was stolen")
    assert (standing.state, standing.certificates, standing.keys) == ("revoked", (), None)
    enrol(admissions, next(new_keys))
    assert admissions.registry.standing(NORTH).state == "enrolled"


def test_an_identity_stays_its_site_s_own_when_that_was_shut_out(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys = next(new_keys)
    enrol(admissions, keys)
    admissions.revoke(NORTH, "a new name")
    with pytest.raises(TrustError, match="the identity key of south was north's"):
        enrol(admissions, keys, SOUTH)
    enrol(admissions, keys)


def test_of_two_requests_with_one_key_in_the_same_moment_one_is_approved(
    admissions: Admissions, new_keys: Iterator[KeyFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = next(new_keys)
    with monkeypatch.context() as both_look_before_either_is_written:
        both_look_before_either_is_written.setattr(Admissions, "_refuse_keys_in_use", lambda *_: None)
        for site in (NORTH, SOUTH):
            secret = admissions.invite(site, ttl_s=DAY_S)
            admissions.ask(keys.request(site, CA.certificate, secret=secret))
    waiting = admissions.registry.standing(NORTH).request
    assert waiting is not None
    with pytest.raises(TrustError, match="already another site's"):
        admissions.approve(NORTH, CA, words=waiting.words)
    admissions.revoke(SOUTH, "asked with north's keys")
    assert admissions.approve(NORTH, CA, words=waiting.words).state == "enrolled"


def test_nothing_is_approved_that_nobody_asked_for(admissions: Admissions) -> None:
    with pytest.raises(ConfigError, match="no request of north waits for approval; it is unknown"):
        admissions.approve(NORTH, CA, words="")
    with pytest.raises(ConfigError, match="nothing to revoke"):
        admissions.revoke(NORTH, "never seen")


def test_another_ca_s_key_can_not_approve(admissions: Admissions, new_keys: Iterator[KeyFolder]) -> None:
    secret = admissions.invite(NORTH, ttl_s=DAY_S)
    raw = next(new_keys).request(NORTH, CA.certificate, secret=secret)
    admissions.ask(raw)
    with pytest.raises(TrustError, match="another CA"):
        admissions.approve(NORTH, authority(), words=verified_request(raw).words)


def test_other_words_than_those_of_the_waiting_request_approve_nothing(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    # Somebody who stole the invitation was faster; the hospital reads the words of its own request.
    mine, theirs, secret = next(new_keys), next(new_keys), admissions.invite(NORTH, ttl_s=DAY_S)
    admissions.ask(theirs.request(NORTH, CA.certificate, secret=secret))
    words = verified_request(mine.request(NORTH, CA.certificate, secret=secret)).words
    with pytest.raises(TrustError, match="not the words of north's request"):
        admissions.approve(NORTH, CA, words=words)
    assert admissions.registry.standing(NORTH).certificates == ()
    # Off: a coordinator who takes the words from the screen instead of the phone lets the thief in.
    shown = admissions.registry.standing(NORTH).request
    assert shown is not None
    assert admissions.approve(NORTH, CA, words=shown.words).keys == shown


def test_what_a_request_wishes_for_is_ignored(admissions: Admissions) -> None:
    key = generate_private_key(SECP256R1())
    wishes = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the CA")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://consortium/site/south")]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    issued = CA.certify_site(NORTH, wishes.public_bytes(Encoding.PEM).decode())
    assert verified_site(issued, ca=CA.certificate) == NORTH
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert issued.subject == x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "north")])


# Renewal


def test_a_renewal_has_a_new_key_and_only_the_last_two_certificates_count(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys = next(new_keys)
    enrol(admissions, keys)
    first = admissions.registry.standing(NORTH).certificates
    for _ in range(2):
        (keys.path / "tls.key").unlink()
        renewed = admissions.renew(keys.request(NORTH, CA.certificate), NORTH, CA)
    assert len(renewed.certificates) == 2 and first[0] not in renewed.certificates
    keys_of = [
        x509.load_pem_x509_certificate(pem.encode()).public_key() for pem in (*first, *renewed.certificates)
    ]
    assert keys_of[0] != keys_of[1] != keys_of[2] != keys_of[0]


def test_without_the_ca_s_key_a_renewal_waits_and_the_old_certificate_counts(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys = next(new_keys)
    enrol(admissions, keys)
    (keys.path / "tls.key").unlink()
    waiting = admissions.renew(keys.request(NORTH, CA.certificate), NORTH, None)
    assert waiting.request is not None and len(waiting.certificates) == 1
    assert len(admissions.approve(NORTH, CA, words="").certificates) == 2


def test_nobody_renews_for_another_nor_changes_keys_on_the_way(
    admissions: Admissions, new_keys: Iterator[KeyFolder]
) -> None:
    keys, others = next(new_keys), next(new_keys)
    enrol(admissions, keys)
    for raw, caller in (
        (keys.request(NORTH, CA.certificate), SOUTH),
        (others.request(NORTH, CA.certificate), NORTH),
        (others.request(SOUTH, CA.certificate), NORTH),
    ):
        with pytest.raises(TrustError, match="a renewal must be of"):
            admissions.renew(raw, caller, CA)
    assert len(admissions.registry.standing(NORTH).certificates) == 1
