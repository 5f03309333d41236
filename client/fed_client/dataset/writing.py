"""Writes a draft as a version: images, table and names encrypted, then the signed manifest over them."""

from collections.abc import Iterator
from pathlib import Path

from fed_client.dataset import counting
from fed_client.dataset.draft import Draft
from fed_client.dataset.manifest import FIRST, READER, Manifest, counts
from fed_client.dataset.sealing import Spool, VersionKey, write_sealed
from fed_client.dataset.source import SiteKeys, Source
from fed_client.dataset.table import encode
from fed_client.dataset.versions import MANIFEST, Version, encode_names
from fed_client.images import TextDetector
from fed_common import signed_fact
from fed_common.files import write_atomically
from fed_common.task import Task


def write_version(  # noqa: PLR0913 (a draft, and five things that the manifest says of it)
    folder: Path,
    draft: Draft,
    *,
    spool: Spool,
    last: Version | None,
    source: Source,
    task: Task,
    keys: SiteKeys,
    detector: TextDetector,
) -> None:
    """Write the version after `last` into `folder`.

    Raises:
        OSError: the disk refuses.
        MachineError: the disk refuses.
    """
    key = VersionKey.new()
    num_rows, row_bytes = len(draft.records_N), 2 * task.recipe.channels * task.recipe.size**2
    table, names = encode(draft.table), encode_names(draft.names)
    problems: dict[str, int] = {}
    for problem in draft.names.problems:
        problems[problem.reason] = problems.get(problem.reason, 0) + 1
    manifest = Manifest(
        dataset=key.dataset,
        version=1 if last is None else last.manifest.version + 1,
        predecessor=FIRST if last is None else last.digest,
        task=task.digest,
        recipe=task.recipe.digest,
        reader=READER,
        labels_from=source.labels_from,
        validation_fraction=float(source.fractions.validation),
        test_fraction=float(source.fractions.test),
        file_is_patient=source.file_is_patient,
        accept_reports=source.accept_reports,
        defacing_attested=source.defacing_attested,
        withdrawn=len(source.withdrawn),
        detector=detector,
        files=len(draft.names.files),
        sides=counting.side_counts(draft.table.rows_N, task),
        files_as_patients=counting.files_as_patients(draft.table.rows_N),
        images_per_patient=counting.images_per_patient(draft.table.rows_N),
        acquisition=counting.acquisition_statistics(draft.table),
        quarantine=counts(draft.reasons),
        label_problems=counts(problems),
        duplicates=counting.duplicate_counts(draft.table.rows_N, draft.copies, draft.near),
        source_split=counting.source_split_counts(draft.labelled_N),
        contents=draft.contents(task),
        key=key.wrap(keys.secret),
        num_rows=num_rows,
        row_bytes=row_bytes,
        table_bytes=len(table),
        names_bytes=len(names),
        images_file=write_sealed(
            folder / "images", _pictures(draft, spool), num_bytes=num_rows * row_bytes, key=key, file="images"
        ),
        table_file=write_sealed(folder / "table", [table], num_bytes=len(table), key=key, file="table"),
        names_file=write_sealed(folder / "names", [names], num_bytes=len(names), key=key, file="names"),
    )
    write_atomically(folder / MANIFEST, signed_fact.sign(manifest, keys.identity))
    (folder / MANIFEST).chmod(0o600)


def _pictures(draft: Draft, spool: Spool) -> Iterator[bytes]:
    return (spool.read(int(record)) for record in draft.records_N)
