"""Tells a fault that passes from one that a person must mend, and says who and how."""

import ssl
import time
from email.utils import parsedate_to_datetime

import httpx

from fed_client.flower_link.link import FlowerLink
from fed_common.errors import FedError, MachineError, TrustError


def hopeless(error: Exception, link: FlowerLink, *, ever_connected: bool) -> FedError | None:
    """Return what to tell the operator if trying again can't help, None if it may.

    Once connected, only a refusal of this site is final: a server's certificate or a clock that was right
    before is a fault that passes, and the site should be there when it has passed.
    """
    if isinstance(error, httpx.HTTPStatusError) and error.request.url.path.endswith("/activate-node"):
        if error.response.status_code == httpx.codes.FORBIDDEN:
            return TrustError(f"{link.address} refuses this site: {error.response.text[:200]!r}")
        if error.response.status_code == httpx.codes.UNAUTHORIZED and not ever_connected:
            return MachineError(
                f"{link.address} refused this site's signature; {_clock_difference(error.response)}"
            )
    if (problem := _certificate_problem(error)) and not ever_connected:
        return TrustError(
            f"the server's certificate is not signed by {link.ca} for {link.address}: "
            f"{problem.verify_message}"
        )
    return None


def _clock_difference(response: httpx.Response) -> str:
    try:
        server_time = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return "check this machine's clock"
    ahead_s = time.time() - server_time.timestamp()
    return f"this machine's clock is {ahead_s:+.0f} s from the server's, allowed are -300 to +5"


def _certificate_problem(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def reason(error: Exception) -> str:
    """Return what failed, in a few words for the log."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return str(error) or type(error).__name__
