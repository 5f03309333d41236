"""Whatever interrupts a pull, every instance is fetched once and none is lost."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fed_client.pacs.archive import ArchiveBusyError, InstanceRef, Query, uid_of
from fed_client.pacs.pulling import TRIES, Pace, Pulled, path_of, pull
from fed_common.errors import DataError, MachineError
from fed_common.files import exclusive

FILE = b"\0" * 128 + b"DICM" + b"pixels"


@dataclass
class FakeArchive:
    """An archive in memory; it is busy before the numbered requests, and dies at one of them."""

    contents: dict[str, list[str]]
    file: bytes = FILE
    busy_before: dict[int, int] = field(default_factory=dict)
    dies_at: int = -1
    fetched: list[str] = field(default_factory=list)

    def studies(self, query: Query) -> Iterator[str]:
        yield from (study for study in self.contents if not query.studies or study in query.studies)

    def instances(self, study: str, query: Query) -> list[InstanceRef]:
        return [
            InstanceRef(study=study, series=study + ".1", instance=instance)
            for instance in self.contents[study]
        ]

    def fetch(self, instance: InstanceRef) -> bytes:
        number = len(self.fetched)
        if self.busy_before.get(number, 0):
            self.busy_before[number] -= 1
            raise ArchiveBusyError("the archive fails (HTTP 503)")
        if number == self.dies_at:
            raise KeyboardInterrupt
        self.fetched.append(instance.instance)
        return self.file


@dataclass
class FakeClock:
    """Time that passes when somebody sleeps."""

    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pace(self, max_per_minute: float | None = None) -> Pace:
        return Pace(max_per_minute=max_per_minute, sleep=self.sleep, clock=lambda: self.now)


ANY = Query()
TWO = {"1.1": ["1.1.1", "1.1.2"], "1.2": ["1.2.1", "1.2.2"]}


def pulled(archive: FakeArchive, folder: Path, *, pace: Pace | None = None, query: Query = ANY) -> Pulled:
    *_, last = pull(
        archive,
        query,
        out=folder / "images",
        journal=folder / "pull" / "journal.jsonl",
        pace=pace or FakeClock().pace(),
    )
    return last


def test_every_instance_is_written_under_digests(tmp_path: Path) -> None:
    counts = pulled(FakeArchive(TWO), tmp_path)
    assert (counts.studies_done, counts.fetched, counts.bytes) == (2, 4, 4 * len(FILE))
    files = sorted((tmp_path / "images").rglob("*.dcm"))
    assert [file.read_bytes() for file in files] == [FILE] * 4
    assert not any("1.1" in str(file.relative_to(tmp_path)) for file in files)


@pytest.mark.parametrize("dies_at", range(4))
def test_a_pull_that_dies_goes_on_where_it_was(tmp_path: Path, dies_at: int) -> None:
    first = FakeArchive(TWO, dies_at=dies_at)
    with pytest.raises(KeyboardInterrupt):
        pulled(first, tmp_path)
    second = FakeArchive(TWO)
    pulled(second, tmp_path)
    assert sorted(first.fetched + second.fetched) == ["1.1.1", "1.1.2", "1.2.1", "1.2.2"]


def test_a_finished_pull_asks_for_nothing_again(tmp_path: Path) -> None:
    pulled(FakeArchive(TWO), tmp_path)
    again = FakeArchive(TWO)
    assert pulled(again, tmp_path).studies_done == 2
    assert again.fetched == []


def test_a_torn_journal_line_costs_a_look_and_no_fetch(tmp_path: Path) -> None:
    pulled(FakeArchive(TWO), tmp_path)
    journal = tmp_path / "pull" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    again = FakeArchive(TWO)
    assert pulled(again, tmp_path).present == 2
    assert again.fetched == []


def test_the_journal_names_no_study(tmp_path: Path) -> None:
    pulled(FakeArchive(TWO), tmp_path)
    lines = (tmp_path / "pull" / "journal.jsonl").read_text().splitlines()
    assert [list(json.loads(line)) for line in lines] == [["study"]] * 2
    assert "1.1" not in lines[0]


def test_an_archive_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    clock = FakeClock()
    archive = FakeArchive(TWO, busy_before={1: TRIES - 1})
    assert pulled(archive, tmp_path, pace=clock.pace()).fetched == 4
    assert clock.now == 1 + 2 + 4


def test_an_archive_that_stays_busy_ends_the_pull(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="503"):
        pulled(FakeArchive(TWO, busy_before={1: TRIES}), tmp_path)


def test_the_pace_is_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    pulled(FakeArchive(TWO), tmp_path, pace=clock.pace(max_per_minute=30))
    assert clock.now == pytest.approx(3 * 2.0)  # the first of four needn't wait


def test_nothing_that_matches_is_the_stewards_business(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing in the archive matches"):
        pulled(FakeArchive(TWO), tmp_path, query=Query(studies=("9",)))


def test_what_is_no_dicom_file_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no DICOM file"):
        pulled(FakeArchive(TWO, file=b"<html>"), tmp_path)
    assert not list((tmp_path / "images").rglob("*.dcm"))


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    link = path_of(tmp_path / "images", InstanceRef(study="1.1", series="1.1.1", instance="1.1.1"))
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    pulled(FakeArchive(TWO), tmp_path)
    assert elsewhere.read_bytes() == b"untouched"
    assert link.read_bytes() == FILE and not link.is_symlink()


def test_two_pulls_at_once_are_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path / "pull", owner="x"), pytest.raises(MachineError, match="another"):
        pulled(FakeArchive(TWO), tmp_path)


@pytest.mark.parametrize("text", ["../../etc", "1.2/3", "1..2", "", "1" * 65, None, 7])
def test_what_is_no_uid_gets_into_no_url(text: object) -> None:
    with pytest.raises(DataError, match="UID"):
        uid_of(text)
