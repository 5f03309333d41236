"""Looks at the hospital's images: the registered data set, or, before there is one, a trial of registering.

A trial reads the whole folder and keeps nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fed_client.config import SiteConfig
from fed_client.dataset.draft import COPIES
from fed_client.dataset.manifest import Manifest, Statistic, overlap_warnings, unit_warning
from fed_client.dataset.registration import differences, register
from fed_client.dataset.source import Progress
from fed_client.dataset.versions import Version, latest_version
from fed_client.doctor.check import Check, failed
from fed_client.opening import site_keys
from fed_common.errors import DataError, FedError
from fed_common.task import Task

# Fewer files than this share may be unusable without anybody looking into it.
WELL_READABLE, BARELY_READABLE = 0.95, 0.5
RARE_CLASS = 0.05


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was looked at: a manifest if there is one, and the first line of the report."""

    manifest: Manifest | None
    check: Check

    @property
    def image_bytes(self) -> int:
        """Return the size of the prepared images together, 0 if unknown."""
        return self.manifest.num_rows * self.manifest.row_bytes if self.manifest else 0


def examine(config: SiteConfig, *, on_image: Progress | None = None) -> Examined:
    """Return the newest version, or what a registration of the folder would make."""
    try:
        keys = site_keys(config)
        version = latest_version(config.datasets, keys.identity.verifying_key)
        if version is not None:
            return Examined(manifest=version.manifest, check=_registered(version, config))
        with TemporaryDirectory() as folder:
            # A folder of one patient is worth a report, too.
            trial = register(
                config.source_in_force,
                task=config.task,
                keys=keys,
                folder=Path(folder),
                min_patients=1,
                on_image=on_image,
            )
            return Examined(
                manifest=trial.manifest,
                check=Check(
                    subject="data set",
                    status="warning",
                    found="not registered yet; this is what a trial found",
                    advice="register it with `fed-client data add`",
                ),
            )
    except DataError as error:
        return Examined(manifest=None, check=failed("data set", error, advice="see [data] in site.toml"))
    except FedError as error:
        return Examined(manifest=None, check=failed("data set", error, advice="see [site] in site.toml"))


def _registered(version: Version, config: SiteConfig) -> Check:
    differs = differences(version, config.source_in_force, config.task)
    if differs:
        return Check(
            subject="data set",
            status="failure",
            found=f"{version.name} was registered with another {differs}",
            advice="run `fed-client data add`",
        )
    return Check(subject="data set", status="ok", found=f"{version.name} is registered")


def check_data(manifest: Manifest, config: SiteConfig) -> Iterator[Check]:
    """Yield what the images are like; numbers only, no file and no patient is named."""
    yield _readable(manifest)
    yield _how_made(manifest, "transfer_syntax", subject="transfer syntaxes")
    yield from _kinds(manifest, config.task)
    yield _labels(manifest)
    yield _patients(manifest, config.policy.min_patients)
    yield _overlap(manifest)
    yield _text(manifest)


def _readable(manifest: Manifest) -> Check:
    left_out = [count for count in manifest.quarantine if count.name not in COPIES]
    total = manifest.images + sum(count.count for count in left_out)
    share = manifest.images / max(1, total)
    found = f"{share:.1%} of {total} images can be used, copies not counted"
    if share >= WELL_READABLE:
        return Check(subject="readable", status="ok", found=found)
    often = max(left_out, key=lambda count: count.count)
    return Check(
        subject="readable",
        status="warning" if share >= BARELY_READABLE else "failure",
        found=f"{found}; most often: {often.name} ({often.count})",
        advice="`fed-client data show --files` names the others and why",
    )


def _how_made(manifest: Manifest, term: str, *, subject: str) -> Check:
    statistic = next((s for s in manifest.acquisition if s.name == term), Statistic(name=term, counts=()))
    counts = sorted(statistic.counts, key=lambda count: -count.count)
    found = ", ".join(f"{count.name or 'not stated'} {count.count}" for count in counts)
    return Check(subject=subject, status="ok", found=found or "none")


def _kinds(manifest: Manifest, task: Task) -> Iterator[Check]:
    """Yield modalities and views of what is used, and how many were of other kinds than the task's."""
    for term, subject in (("modality", "modalities"), ("view", "views")):
        check = _how_made(manifest, term, subject=subject)
        if term == "modality" and not task.modalities and ", " in check.found:
            check = replace(
                check,
                status="warning",
                found=f"{check.found}; the task takes all of them",
                advice="see that all are meant; a task can name its modalities",
            )
        others = _left_out(manifest, f"another {term}")
        if others:
            check = replace(
                check,
                status="warning",
                found=f"{check.found}; {others} images of other {subject} than the task's",
                advice="see that the folder holds what the task is about",
            )
        yield check


def _labels(manifest: Manifest) -> Check:
    """Return how the classes are balanced over all sides."""
    totals: dict[str, int] = {}
    for side in manifest.sides:
        for count in side.classes:
            totals[count.name] = totals.get(count.name, 0) + count.patients
    found = "patients per class: " + ", ".join(f"{name} {count}" for name, count in totals.items())
    problems = sum(count.count for count in manifest.label_problems)
    rare = [name for name, count in totals.items() if count < RARE_CLASS * max(1, manifest.patients)]
    if problems:
        return Check(
            subject="labels",
            status="warning",
            found=f"{found}; {problems} labels can't be used",
            advice="`fed-client data show --files` gives the lines and reasons",
        )
    unused = _left_out(manifest, "the report is")
    if unused:
        return Check(
            subject="labels",
            status="warning",
            found=f"{found}; {unused} reports are partial, unverified or preliminary, and not used",
            advice="have them finished, or see accept_reports in [data]",
        )
    if rare:
        return Check(
            subject="labels",
            status="warning",
            found=f"{found}; hardly any: {', '.join(rare)}",
            advice="see that labels of these classes weren't forgotten",
        )
    return Check(subject="labels", status="ok", found=found)


def _patients(manifest: Manifest, least: int) -> Check:
    spread = ", ".join(f"{count.name}: {count.count}" for count in manifest.images_per_patient if count.count)
    found = f"{manifest.patients} patients; by their number of images {spread}"
    if manifest.patients < least:
        return Check(
            subject="patients",
            status="failure",
            found=f"{found}; the policy asks for {least}",
            advice="add images, or take part when there are more",
        )
    if warning := unit_warning(manifest):
        return Check(
            subject="patients",
            status="warning",
            found=f"{found}; {warning}",
            advice="name them in the column patient of the list of labels, if anybody knows",
        )
    return Check(subject="patients", status="ok", found=found)


def _overlap(manifest: Manifest) -> Check:
    warnings = overlap_warnings(manifest)
    if warnings:
        return Check(
            subject="overlap",
            status="warning",
            found="; ".join(warnings),
            advice="`fed-client data show --files` names the images",
        )
    return Check(subject="overlap", status="ok", found="no patient and no image is on two sides")


def _text(manifest: Manifest) -> Check:
    suspects = _left_out(manifest, "text")
    found = f"{suspects} images left out; looked for by {manifest.detector}"
    if manifest.detector != "contrast and tesseract":
        return Check(
            subject="text in pixels",
            status="warning",
            found=found,
            advice="install tesseract-ocr, which clears false alarms, and register again",
        )
    if suspects:
        return Check(
            subject="text in pixels",
            status="warning",
            found=found,
            advice="have somebody look at them: `fed-client data show --files`",
        )
    return Check(subject="text in pixels", status="ok", found=found)


def _left_out(manifest: Manifest, word: str) -> int:
    return sum(count.count for count in manifest.quarantine if word in count.name)
