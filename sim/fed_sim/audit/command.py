"""`fed-sim audit`: examines the privacy code that is installed here, and writes the verdict for `publish`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fed_common import canonical
from fed_common.audit import AuditVerdict
from fed_common.errors import PrivacyError
from fed_common.files import write_atomically
from fed_common.machine import settle_in
from fed_common.metrics import Estimate

# What audits is imported by who audits: its statistics take a second, and `fed-sim` has other commands.
if TYPE_CHECKING:
    from fed_sim.audit.hospital import SiteParts


def audit(
    out: Annotated[Path, typer.Option(help="The verdict as JSON, for `fed-server publish`.")] = Path(
        "audit.json"
    ),
    attacks: Annotated[
        bool, typer.Option(help="Also rebuild pictures, and guess who was in, with privacy on and off.")
    ] = False,
    faults: Annotated[
        bool, typer.Option("--faults", help="Instead, plant each known fault and see that it is found.")
    ] = False,
) -> None:
    """Attack a site of the installed code by planted images; judge clipping, sampling, noise and epsilon.

    Ends with 4 if a figure is out of bounds; `fed-server publish` then refuses the models of this code.
    """
    from fed_sim.audit.auditing import audited  # noqa: PLC0415
    from fed_sim.audit.faults import FAULTS  # noqa: PLC0415
    from fed_sim.audit.hospital import SiteParts  # noqa: PLC0415

    settle_in()
    logging.getLogger("fed_client").setLevel(logging.WARNING)  # which round was answered is no news here
    if faults:
        examine(FAULTS)
    else:
        report(audited(SiteParts(), attacks=attacks), out)


def report(verdict: AuditVerdict, out: Path) -> None:
    """Write the verdict to `out`, and print it.

    Raises:
        PrivacyError: a figure is out of its bounds.
        MachineError: `out` can't be written.
    """
    write_atomically(out, canonical.encode(verdict) + b"\n")
    Console().print(_table(verdict))
    if verdict.attacks:
        Console().print(_attacks(verdict))
    claimed = verdict.claimed
    typer.echo(
        f"claimed: epsilon {claimed.epsilon:.3f} at delta {claimed.delta:g} per {claimed.unit}, "
        f"{claimed.accountant}; {verdict.canaries} canaries"
    )
    libraries = ", ".join(f"{library.name} {library.version}" for library in verdict.libraries)
    typer.echo(f"{verdict.date}: code {verdict.code[:12]}, {libraries}; written to {out}")
    if verdict.failed:
        raise PrivacyError(f"the audit didn't pass: {'; '.join(verdict.failed)}")


def examine(faults: Mapping[str, "SiteParts"]) -> None:
    """Audit a site with each of `faults`, and print which readings find it.

    Raises:
        PrivacyError: one isn't found.
    """
    from fed_sim.audit.auditing import audited  # noqa: PLC0415

    table = Table(title="Planted faults", title_justify="left")
    for heading in ("fault", "found by"):
        table.add_column(heading)
    missed = []
    for fault, parts in faults.items():
        found = [reading for reading in audited(parts).all_readings if not reading.holds]
        missed += [] if found else [fault]
        told = (f"{reading.what.partition(':')[0]} {reading.measured:.3g}" for reading in found)
        table.add_row(fault, ", ".join(told) or "nothing")
    Console().print(table)
    if missed:
        raise PrivacyError(f"the audit missed: {', '.join(missed)}")


def _attacks(verdict: AuditVerdict) -> Table:
    table = Table(title="Attacks, with 95 % intervals", title_justify="left")
    for heading in ("", "attack", "privacy on", "at most", "privacy off"):
        table.add_column(heading, overflow="fold")
    for attack in verdict.attacks:
        table.add_row(
            "ok" if attack.holds else "out of bounds",
            attack.what,
            _interval(attack.protected),
            f"{attack.limit:.3f}",
            _interval(attack.unprotected),
        )
    return table


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _table(verdict: AuditVerdict) -> Table:
    table = Table(title=f"Audit: {'not passed' if verdict.failed else 'passed'}", title_justify="left")
    for heading in ("", "reading", "measured", "bounds", "false alarms"):
        table.add_column(heading, overflow="fold")
    for reading in verdict.all_readings:
        table.add_row(
            "ok" if reading.holds else "out of bounds",
            reading.what,
            f"{reading.measured:.4g}",
            f"{reading.low:.4g} to {reading.high:.4g}",
            f"{reading.false_alarm:g}",
        )
    return table
