"""Makes of a hospital's files an immutable data set: read once, de-identified, counted, encrypted and signed.

Training then never opens the hospital's folder again, so that what the ledger charges for is what is learnt
from. A version is made in this order, and is there as a whole or not at all:

1. list the files and take each one's digest; what the last version holds already is copied from it;
2. read the others in processes that may die, de-identify each picture, spool it encrypted;
3. give each picture its label; leave out copies and what has no label;
4. order by side, patient and pixels, so that the order of files changes nothing;
5. encrypt images, table and names under a fresh key, sign the manifest, sync, rename.
"""

# Shape letters: N pictures.

from pathlib import Path

from fed_client.dataset.draft import Draft
from fed_client.dataset.labelling import Labels
from fed_client.dataset.making import Making, spool_of
from fed_client.dataset.manifest import READER
from fed_client.dataset.source import OpenReader, Progress, SiteKeys, Source, reading_processes
from fed_client.dataset.versions import Version, latest_version, load_version, new_version
from fed_client.dataset.writing import write_version
from fed_client.images import TextDetector
from fed_common.errors import TrustError
from fed_common.files import exclusive
from fed_common.task import Task


def register(  # noqa: PLR0913 (a source, and what a site decides)
    source: Source,
    *,
    task: Task,
    keys: SiteKeys,
    folder: Path,
    min_patients: int,
    open_reader: OpenReader = reading_processes,
    on_image: Progress | None = None,
) -> Version:
    """Return the version that is in `folder` afterwards: a new one, or the last if nothing has changed.

    `on_image` hears how many files of all are done.

    Raises:
        DataError: the labels are wrong, or the usable images too few to learn from; nothing is written.
        TrustError: the last version was altered, or made by another site.
        MachineError: the disk refuses, or another process registers.
    """
    with exclusive(folder, owner="registration"):
        last = latest_version(folder, keys.identity.verifying_key)
        if last is not None and last.manifest.withdrawn > len(source.withdrawn):
            raise TrustError(
                f"the list of who withdrew is lost, or older than {last.name}; restore it from backup"
            )
        number = 1 if last is None else last.manifest.version + 1
        with open_reader(task.recipe) as reader, spool_of(folder, task) as spool:
            labels = Labels.load(source.labels_from, source.labels, task, keys.secret)
            draft = Making(
                source=source, task=task, secret=keys.secret, last=last, labels=labels, reader=reader
            ).read(spool, on_image)
            draft.check_learnable(task, min_patients)
            if last is not None and _is_as(
                last, draft, source, task=task, keys=keys, detector=reader.detector
            ):
                return last
            with new_version(folder, number) as aside:
                write_version(
                    aside,
                    draft,
                    spool=spool,
                    last=last,
                    source=source,
                    task=task,
                    keys=keys,
                    detector=reader.detector,
                )
        return load_version(folder, number, keys.identity.verifying_key)


def differences(version: Version, source: Source, task: Task) -> str:
    """Return in what the version differs from what the configuration asks for now, empty if in nothing."""
    made = version.manifest
    asked = (
        ("task", made.task, task.digest),
        ("labels_from", made.labels_from, source.labels_from),
        ("validation_fraction", made.validation_fraction, source.fractions.validation),
        ("test_fraction", made.test_fraction, source.fractions.test),
        ("file_is_patient", made.file_is_patient, source.file_is_patient),
        ("accept_reports", made.accept_reports, source.accept_reports),
        ("defacing_attested", made.defacing_attested, source.defacing_attested),
        ("list of who withdrew", made.withdrawn, len(source.withdrawn)),
    )
    return ", ".join(name for name, then, now in asked if then != now)


def _is_as(
    last: Version, draft: Draft, source: Source, *, task: Task, keys: SiteKeys, detector: TextDetector
) -> bool:
    """Tell whether a version of the draft would say what the last one says."""
    made = last.manifest
    return (
        not last.erased
        and not differences(last, source, task)
        and (made.reader, made.detector) == (READER, detector)
        and made.contents == draft.contents(task)
        and last.names(last.key(keys.secret)) == draft.names
    )
