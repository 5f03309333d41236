"""The signed statement of what a data set is made of; its digest is the data set's name in the ledger.

It counts and names nobody. Each version names the one before it, so that a data set has one history.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fed_client.dataset.table import SideName
from fed_client.images import ReportFlaw, TextDetector
from fed_common import signed_fact
from fed_common.errors import DataError, MalformedMessageError, TrustError
from fed_common.names import Digest
from fed_common.signing import VerifyingKey

FIRST = Digest("0" * 64)  # the predecessor of the first version

# Counted up when reading makes other pictures of the same files; unchanged files are then read again.
READER = 1

LabelSource = Literal["list", "reports", "headers"]


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often something was there."""

    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How many images, and patients with such an image, show a class."""

    name: str
    images: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class SideCount:
    """What is on one side of the split."""

    side: SideName
    images: int
    patients: int
    classes: tuple[ClassCount, ...]


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """How the images were made, by one term."""

    name: str
    counts: tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class DuplicateCounts:
    """Copies: the first three are left out, pairs that look alike are not."""

    same_instance: int
    same_pixels: int
    of_two_patients: int
    near_pairs: int
    near_pairs_between_patients: int
    near_pairs_between_sides: int
    near_complete: bool


@dataclass(frozen=True, kw_only=True)
class SourceSplitCounts:
    """What the source's own split, if its list has one, mixes up; groups are images with equal pixels."""

    patients: int
    patients_on_several: int
    duplicate_groups: int
    duplicate_groups_on_several: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One version of a data set.

    `contents` is the same for the same pictures, labels and sides, whoever registers them when; the
    digests of the files are those of one encryption. `key` is wrapped by the site's secret. `withdrawn` is
    how many pseudonyms the list of who withdrew had; a patient has two where an issuer was named.
    """

    dataset: str
    version: int
    predecessor: Digest
    task: Digest
    recipe: Digest
    reader: int
    labels_from: LabelSource
    validation_fraction: float
    test_fraction: float
    file_is_patient: bool
    accept_reports: tuple[ReportFlaw, ...]
    defacing_attested: bool
    withdrawn: int
    detector: TextDetector
    files: int
    sides: tuple[SideCount, ...]
    files_as_patients: int
    images_per_patient: tuple[Count, ...]
    acquisition: tuple[Statistic, ...]
    quarantine: tuple[Count, ...]
    label_problems: tuple[Count, ...]
    duplicates: DuplicateCounts
    source_split: SourceSplitCounts | None
    contents: Digest
    key: str
    num_rows: int
    row_bytes: int
    table_bytes: int
    names_bytes: int
    images_file: Digest
    table_file: Digest
    names_file: Digest

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return sum(side.images for side in self.sides)

    @property
    def patients(self) -> int:
        """Return how many patients there are."""
        return sum(side.patients for side in self.sides)


def read_manifest(path: Path, key: VerifyingKey) -> Manifest:
    """Return the manifest at `path`.

    Raises:
        TrustError: the site didn't sign it.
        DataError: it can't be read.
    """
    try:
        return signed_fact.verify(path.read_bytes(), Manifest, key)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except MalformedMessageError:
        raise TrustError(
            f"{path}: is no manifest of a data set, or one of another version of this program; "
            "move the data sets away and run `fed-client data add`"
        ) from None


def counts(values: dict[str, int]) -> tuple[Count, ...]:
    """Return the counts, ordered by name."""
    return tuple(Count(name=name, count=count) for name, count in sorted(values.items()))


def warnings_of(manifest: Manifest) -> tuple[str, ...]:
    """Return what a data steward should look into, one line each."""
    return tuple(filter(None, (unit_warning(manifest), *overlap_warnings(manifest))))


def unit_warning(manifest: Manifest) -> str:
    """Return what to know if some patients are only files, empty if none is."""
    if not manifest.files_as_patients:
        return ""
    return (
        f"{manifest.files_as_patients} of {manifest.patients} patients are files for which nobody is named "
        f"(file_is_patient): what is protected there is one file, not a person, whose other files may be on "
        f"other sides"
    )


def overlap_warnings(manifest: Manifest) -> tuple[str, ...]:
    """Return what seems to be there twice, one line each."""
    duplicates, split = manifest.duplicates, manifest.source_split
    warnings = []
    if duplicates.of_two_patients:
        warnings.append(
            f"images of two patients, by their pixels or UID: {duplicates.of_two_patients}; is one person "
            f"known by two PatientIDs, or a file under the wrong name?"
        )
    if duplicates.near_pairs_between_patients or duplicates.near_pairs_between_sides:
        warnings.append(
            f"pairs of images that look alike: {duplicates.near_pairs_between_patients} of two patients, "
            f"{duplicates.near_pairs_between_sides} on two sides; is one person known by two PatientIDs?"
        )
    if not duplicates.near_complete:
        warnings.append("too many images look alike to compare all of them")
    if split is not None and (split.patients_on_several or split.duplicate_groups_on_several):
        warnings.append(
            f"the source's own split, which is not used, has {split.patients_on_several} of {split.patients} "
            f"patients and {split.duplicate_groups_on_several} of {split.duplicate_groups} groups of equal "
            f"images on several sides"
        )
    return tuple(warnings)
