"""Shows the register as a table: where each site stands, and what to do about it."""

import time
from collections.abc import Sequence

from cryptography import x509
from rich.markup import escape
from rich.table import Table

from fed_server.registry.standing import Standing, State

_COLOURS: dict[State, str] = {
    "unknown": "dim",
    "invited": "yellow",
    "waiting": "yellow",
    "enrolled": "green",
    "revoked": "red",
    "withdrawn": "red",
}


def sites_table(standings: Sequence[Standing]) -> Table:
    """Return a row for each site."""
    table = Table()
    for heading in ("site", "", "what to know", "what to do"):
        table.add_column(heading, overflow="fold")
    for standing in standings:
        colour, (found, advice) = _COLOURS[standing.state], _told(standing)
        table.add_row(standing.site, f"[{colour}]{standing.state}[/{colour}]", escape(found), escape(advice))
    return table


def _told(standing: Standing) -> tuple[str, str]:
    match standing.state:
        case "enrolled":
            newest = x509.load_pem_x509_certificate(standing.certificates[-1].encode())
            found = f"certificate valid until {newest.not_valid_after_utc:%Y-%m-%d}"
            waits = standing.request is not None
            return found, f"its renewal waits: `fed-server approve {standing.site}`" if waits else ""
        case "waiting":
            words = standing.request.words if standing.request else ""
            return (
                f"its six words: {words}",
                f"hear them on the phone, then `fed-server approve {standing.site}`",
            )
        case "invited":
            is_open = standing.invitation_at(time.time()) is not None
            return ("may ask", "") if is_open else ("expired or tried too often", "invite it again")
        case "revoked":
            return standing.revoked or "", ""
        case "withdrawn":
            return standing.withdrawn or "", ""
        case "unknown":
            return "", f"`fed-server invite {standing.site}`"
