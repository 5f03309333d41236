"""`fed-client data`: registers the hospital's images, shows what will be trained on, and checks it.

File names can identify a patient, and what a terminal shows ends in mails and tickets; so they are printed
only with --files, on the machine where they are. Nothing here prints an attribute of a patient.
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from fed_client import data_tables
from fed_client.config import SiteConfig, load_site_config
from fed_client.dataset.manifest import warnings_of
from fed_client.dataset.pruning import prune as delete_unneeded
from fed_client.dataset.pruning import unneeded_versions
from fed_client.dataset.registration import differences
from fed_client.dataset.verification import (
    FolderChanges,
    compare_files,
    compare_folder,
    compare_pictures,
    verify_history,
    verify_stored,
)
from fed_client.dataset.versions import Names, Version, latest_version, list_versions, load_version
from fed_client.opening import register_configured, site_keys
from fed_client.pacs.command import pull_command
from fed_client.withdrawal.command import withdraw_command
from fed_common.errors import ConfigError, DataError, LedgerError
from fed_common.files import exclusive
from fed_common.ledger import refuse_older_than_witness
from fed_common.ledger_record import LedgerRecord

app = typer.Typer(
    name="data",
    help="Register the hospital's images; show, check and compare what was registered.",
    no_args_is_help=True,
)

app.command("pull")(pull_command)
app.command("withdraw")(withdraw_command)

ConfigOption = Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
FilesOption = Annotated[
    bool, typer.Option("--files", help="Also print file names, which can identify patients.")
]


@app.command()
def add(config: ConfigOption = Path("site.toml"), as_json: JsonOption = False) -> None:
    """Register what is in the folder now; only new and changed files are read."""
    settings = load_site_config(config)
    before = _latest(settings)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("files", total=None)
        version = register_configured(
            settings, on_image=lambda done, total: progress.update(bar, completed=done, total=total)
        )
    if as_json:
        _print_json(_described(version) | {"new": before is None or before.digest != version.digest})
        return
    if before is not None and before.digest == version.digest:
        typer.echo(f"{version.name}: nothing has changed; no new version was made")
    data_tables.show_version(Console(), version)
    typer.echo("A running daemon keeps the version it started with.")


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="As in v0002; the newest if none is named.")] = "",
    config: ConfigOption = Path("site.toml"),
    files: FilesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what will be trained on: patients, images, classes, what was left out, and what to look into."""
    settings = load_site_config(config)
    chosen = _chosen(settings, version)
    names = chosen.names(chosen.key(site_keys(settings).secret)) if files else None
    if as_json:
        _print_json(_described(chosen) | ({"left_out": _left_out(names)} if names else {}))
        return
    data_tables.show_version(Console(), chosen)
    if names is not None:
        data_tables.show_names(Console(soft_wrap=True), names)


@app.command()
def verify(
    config: ConfigOption = Path("site.toml"), files: FilesOption = False, as_json: JsonOption = False
) -> None:
    """Check signatures, digests and encryption, and compare the folder with what was registered.

    Ends with 3 if the folder or the configuration differs from it, with 5 if something was altered.
    """
    settings = load_site_config(config)
    keys = site_keys(settings)
    num_versions = verify_history(settings.datasets, keys)
    version = _chosen(settings, "")
    verify_stored(version, settings.task, keys)
    changes = compare_folder(version, settings.source.images, keys)
    differs = differences(version, settings.source_in_force, settings.task)
    if as_json:
        _print_json(
            {"version": version.name, "versions": num_versions, "configuration_differs_in": differs}
            | _counted(changes, files=files)
        )
    else:
        typer.echo(
            f"{version.name} of {num_versions}: signature, digests and every encrypted chunk are right"
        )
        data_tables.show_folder(Console(soft_wrap=True), changes, with_names=files)
    if differs:
        raise DataError(f"{version.name} was registered with another {differs}; run `fed-client data add`")
    if changes:
        raise DataError(f"the folder isn't what {version.name} was made from; run `fed-client data add`")


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="As in v0001; the one before the newest if none is named.")] = "",
    other: Annotated[str, typer.Argument(help="As in v0002; the newest if none is named.")] = "",
    config: ConfigOption = Path("site.toml"),
    files: FilesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: patients, images, labels and files that came, went or changed."""
    settings = load_site_config(config)
    keys = site_keys(settings)
    after = _chosen(settings, other)
    earlier = [number for number in list_versions(settings.datasets) if number < after.manifest.version]
    if not one and not earlier:
        raise DataError(f"there is no version before {after.name} to compare it with")
    before = _chosen(settings, one or str(earlier[-1]))
    pictures = compare_pictures(before, after, keys)
    changes = compare_files(before, after, keys)
    if as_json:
        _print_json(
            {"from": before.name, "to": after.name} | asdict(pictures) | _counted(changes, files=files)
        )
        return
    data_tables.show_pictures(Console(), before, after, pictures)
    data_tables.show_folder(Console(soft_wrap=True), changes, with_names=files)


@app.command()
def prune(
    config: ConfigOption = Path("site.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete the versions that are neither the newest nor named in the ledger; not while the daemon runs."""
    settings = load_site_config(config)
    key = site_keys(settings).identity.verifying_key
    with exclusive(settings.ledger.parent, owner="fed-client"):  # a daemon may yet charge for an old version
        record = LedgerRecord.read(settings.ledger, key)
        refuse_older_than_witness(record, settings.witness)
        if record.fragment:
            raise LedgerError("the ledger's last line is torn; `fed-client start` mends it")
        charged = {event.dataset for event in record.events}
        deleted = (unneeded_versions if dry_run else delete_unneeded)(settings.datasets, charged, key)
    verb = "would be deleted" if dry_run else "deleted"
    typer.echo(f"versions {verb}: {', '.join(version.name for version in deleted) or 'none'}")


def _latest(settings: SiteConfig) -> Version | None:
    return latest_version(settings.datasets, site_keys(settings).identity.verifying_key)


def _chosen(settings: SiteConfig, name: str) -> Version:
    numbers = list_versions(settings.datasets)
    if not numbers:
        raise DataError("no data set is registered for this task; run `fed-client data add`")
    match = re.fullmatch(r"v?(\d{1,6})", name) if name else None
    if name and match is None:
        raise ConfigError(f"a version is named as in v{numbers[-1]:04d}, got {name[:20]!r}")
    number = int(match[1]) if match else numbers[-1]
    if number not in numbers:
        names = ", ".join(f"v{number:04d}" for number in numbers)
        raise ConfigError(f"the versions are {names}, got v{number:04d}")
    return load_version(settings.datasets, number, site_keys(settings).identity.verifying_key)


def _described(version: Version) -> dict[str, object]:
    manifest = asdict(version.manifest)
    del manifest["key"]  # wrapped, and yet nobody's business
    return {
        "name": version.name,
        "digest": version.digest,
        "warnings": warnings_of(version.manifest),
        "manifest": manifest,
    }


def _left_out(names: Names) -> list[dict[str, object]]:
    return [{"file": file.name, "reasons": file.reasons} for file in names.files if file.reasons]


def _counted(changes: FolderChanges, *, files: bool) -> dict[str, object]:
    named = asdict(changes)
    return {f"files_{kind}": names if files else len(names) for kind, names in named.items()}


def _print_json(value: dict[str, object]) -> None:
    typer.echo(json.dumps(value, indent=1))
