"""`fed-client data pull`: from the archive into the folder of images; stop it and start it as you like."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fed_client.config import load_site_config
from fed_client.pacs.archive import Archive, Query
from fed_client.pacs.config import PacsTable
from fed_client.pacs.dicomweb import DicomWebArchive
from fed_client.pacs.dimse import DimseArchive
from fed_client.pacs.pulling import Pace, Pulled, pull
from fed_common.errors import ConfigError, DataError

_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
MAX_STUDIES = 1_000_000


def pull_command(
    config: Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")] = Path(
        "site.toml"
    ),
    modality: Annotated[list[str] | None, typer.Option(help="As in DX; several are allowed.")] = None,
    body_part: Annotated[str, typer.Option(help="As the archive's series say, as in CHEST.")] = "",
    since: Annotated[str, typer.Option("--from", help="The first day of studies, as in 2024-01-31.")] = "",
    until: Annotated[str, typer.Option("--to", help="The last day of studies.")] = "",
    studies: Annotated[
        Path | None, typer.Option(help="A file of study UIDs or accession numbers, one a line.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where files go; the folder [data] images if not given.")
    ] = None,
    max_per_minute: Annotated[
        float | None, typer.Option(min=0.1, help="Spare the archive: instances a minute.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what matches.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for machines.")] = False,
) -> None:
    """Fetch images from the archive (table pacs of site.toml); an interrupted pull goes on where it was."""
    settings = load_site_config(config)
    if settings.pacs is None:
        raise ConfigError(f"{config}: there is no table [pacs]")
    query = Query(
        modalities=tuple(modality or ()),
        body_part=body_part,
        first_day=_day("--from", since),
        last_day=_day("--to", until),
        studies=_listed(studies) if studies else (),
    )
    with opened_archive(settings.pacs, config.parent) as archive:
        if dry_run:
            _count(archive, query, as_json=as_json)
            return
        progress = pull(
            archive,
            query,
            out=out or settings.source.images,
            journal=settings.state / "pull" / "journal.jsonl",
            pace=Pace(max_per_minute=max_per_minute),
        )
        _follow(progress, as_json=as_json)


@contextmanager
def opened_archive(table: PacsTable, here: Path) -> Iterator[Archive]:
    """Yield the archive in the language that the table says."""
    opened = DicomWebArchive.opened(table, here) if table.url else DimseArchive.opened(table, here)
    with opened as archive:
        yield archive


def _follow(progress: Iterator[Pulled], *, as_json: bool) -> None:
    last: Pulled | None = None
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=as_json or not sys.stderr.isatty(),
    ) as bars:
        bar = bars.add_task("studies", total=None)
        for counts in progress:
            bars.update(bar, completed=counts.studies_done, total=counts.studies)
            if as_json and (last is None or counts.studies_done != last.studies_done):
                typer.echo(json.dumps(vars(counts)))
            last = counts
    if last is not None and not as_json:
        typer.echo(
            f"{last.studies_done} studies are here: {last.fetched} instances fetched "
            f"({last.bytes / 1e6:.1f} MB), {last.present} were there"
        )


def _count(archive: Archive, query: Query, *, as_json: bool) -> None:
    found = sum(1 for _ in archive.studies(query))
    typer.echo(json.dumps({"studies": found}) if as_json else f"{found} studies match")


def _day(option: str, text: str) -> str:
    if not text:
        return ""
    match = _DAY.fullmatch(text)
    if match is None:
        raise ConfigError(f"{option} must look like 2024-01-31, got {text[:20]!r}")
    return "".join(match.groups())


def _listed(path: Path) -> tuple[str, ...]:
    """Return the lines of the file; what they say is never repeated."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({type(error).__name__})") from None
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names or len(names) > MAX_STUDIES:
        raise DataError(f"{path}: must name 1 to {MAX_STUDIES} studies, names {len(names)}")
    for number, name in enumerate(names, start=1):
        if len(name) > 64 or not name.isprintable() or set(name) & set("*?\\"):
            raise DataError(f"{path}: entry {number} is no study UID and no accession number")
    return names
