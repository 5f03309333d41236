"""Calls the coordinator as the daemon will, without logging in: certificates, address and clock.

The site's own certificate comes first: of one that it refuses, a server says nothing but closes the line.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cryptography import x509

from fed_client.doctor.check import Check, failed
from fed_client.enrolment.renewal import is_due
from fed_client.flower_link import FlowerLink
from fed_common.errors import FedError

TIMEOUT_S = 5.0
# The server refuses a signature that is older or from the future; see flower_link/faults.py.
CLOCK_AHEAD_S, CLOCK_BEHIND_S = 5.0, 300.0
RENEW_BEFORE = timedelta(days=14)


def check_server(link: FlowerLink) -> Iterator[Check]:
    """Yield whether the server can be reached, is the consortium's, and has the same time.

    Whether it has this site in force shows at `fed-client start`: to ask would end the login of a daemon
    that is running.
    """
    try:
        link.read_node_key()
        yield _own(link.check_certificate())
        context = link.tls_context()
    except FedError as error:
        yield failed("keys", error, advice="`fed-client enroll` makes keys and has them certified")
        return
    try:
        certificate, date = _greet(link, context)
    except ssl.SSLCertVerificationError as error:
        yield Check(
            subject="server",
            status="failure",
            found=f"{link.address}: the certificate is not signed by {link.ca}: {error.verify_message}",
            advice="ask the coordinator for the current ca.crt; compare fingerprints over the phone",
        )
        return
    except OSError as error:
        yield Check(
            subject="server",
            status="failure",
            found=f"{link.address}: no TLS connection ({error.strerror or type(error).__name__})",
            advice="see that the coordinator runs, and that the firewall lets this machine out to it",
        )
        return
    yield Check(subject="server", status="ok", found=f"{link.address} answers with TLS 1.3")
    yield _certificate(certificate)
    yield _clock(date)


def _own(certificate: x509.Certificate) -> Check:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    found = f"this site's certificate is valid for {left.days} more days"
    if is_due(certificate, datetime.now(UTC) - timedelta(days=1)):
        advice = "the daemon renews it while it runs; see its log, and whether the coordinator approves"
        return Check(subject="own certificate", status="warning", found=found, advice=advice)
    return Check(subject="own certificate", status="ok", found=found)


def _greet(link: FlowerLink, context: ssl.SSLContext) -> tuple[x509.Certificate, str]:
    """Return the server's certificate and the date it answers with."""
    url = urlsplit(link.address)
    host, port = url.hostname or "", url.port or 443
    with (
        closing(socket.create_connection((host, port), timeout=TIMEOUT_S)) as plain,
        context.wrap_socket(plain, server_hostname=host) as line,
    ):
        certificate = x509.load_der_x509_certificate(line.getpeercert(binary_form=True) or b"")
        line.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = line.recv(8192).decode("latin-1")
    dates = [
        value
        for name, _, value in (row.partition(":") for row in head.split("\r\n"))
        if name.lower() == "date"
    ]
    return certificate, dates[0].strip() if dates else ""


def _certificate(certificate: x509.Certificate) -> Check:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    found = f"the server's certificate is valid for {left.days} more days"
    if left < RENEW_BEFORE:
        return Check(
            subject="certificate", status="warning", found=found, advice="the coordinator should renew it"
        )
    return Check(subject="certificate", status="ok", found=found)


def _clock(date: str) -> Check:
    try:
        ahead_s = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Check(
            subject="clock",
            status="warning",
            found="the server doesn't tell the time",
            advice="see that this machine's clock is set by NTP",
        )
    found = f"{ahead_s:+.0f} s from the server's"
    # The date has whole seconds and was written before it was read.
    if not -CLOCK_BEHIND_S <= ahead_s <= CLOCK_AHEAD_S + 1:
        return Check(subject="clock", status="failure", found=found, advice="set this machine's clock by NTP")
    return Check(subject="clock", status="ok", found=found)
