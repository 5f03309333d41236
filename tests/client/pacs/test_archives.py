"""Every way into a real archive finds and fetches the same images."""

from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from tests.client.pacs.orthanc import MISSING, PASSWORD, USER, Orthanc, running_orthanc
from tests.client.pacs.studies import studies
from tests.ports import free_port

from fed_client.pacs.archive import Archive, ArchiveBusyError, InstanceRef, Query
from fed_client.pacs.command import opened_archive
from fed_client.pacs.config import PacsTable
from fed_common.errors import FedError, MachineError, TrustError

pytestmark = pytest.mark.skipif(MISSING, reason="orthanc and orthanc-dicomweb are not installed")

WAYS = ("dicomweb", "get", "move")
STUDIES = dict(studies(6))


class Served:
    """An Orthanc with six studies, and the tables that lead to it."""

    def __init__(self, orthanc: Orthanc, folder: Path, receive_port: int) -> None:
        self.orthanc, self.folder, self.receive_port = orthanc, folder, receive_port
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)

    def table(self, way: str, **changed: Any) -> PacsTable:
        web = {"url": self.orthanc.url, "user": USER, "password_file": str(self.folder / "password")}
        dimse = {
            "host": "127.0.0.1",
            "port": self.orthanc.dicom_port,
            "method": way,
            "receive_port": self.receive_port,
        }
        return PacsTable.model_validate({**(web if way == "dicomweb" else dimse), **changed}, strict=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("pacs"), free_port()
    with running_orthanc(folder / "orthanc", receive_port=port) as orthanc:
        for files in STUDIES.values():
            for contents in files:
                orthanc.upload(contents)
        yield Served(orthanc, folder, port)


@pytest.fixture(params=WAYS)
def archive(request: pytest.FixtureRequest, served: Served) -> Iterator[Archive]:
    with opened_archive(served.table(request.param), served.folder) as opened:
        yield opened


def test_all_studies_are_found(archive: Archive) -> None:
    assert sorted(archive.studies(Query())) == sorted(STUDIES)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (Query(modalities=("CR",)), [0, 1, 2, 3, 4, 5]),
        (Query(modalities=("MR",)), []),
        (Query(modalities=("CR", "MR")), [0, 1, 2, 3, 4, 5]),
        (Query(first_day="20200103"), [2, 3, 4, 5]),
        (Query(first_day="20200102", last_day="20200103"), [1, 2]),
        (Query(studies=("A4",)), [4]),
        (Query(studies=(list(STUDIES)[2], "A5")), [2, 5]),
        (Query(studies=("A99",)), []),
    ],
)
def test_a_query_finds_what_it_asks_for(archive: Archive, query: Query, numbers: list[int]) -> None:
    assert sorted(archive.studies(query)) == sorted(list(STUDIES)[number] for number in numbers)


def test_a_body_part_is_asked_of_the_series(archive: Archive) -> None:
    chest = Query(body_part="CHEST")
    found = [len(archive.instances(study, chest)) for study in STUDIES]
    assert found == [0, 2, 0, 2, 0, 2]


def test_an_instance_comes_as_it_was_stored(archive: Archive) -> None:
    study, files = next(iter(STUDIES.items()))
    expected = {dcmread(BytesIO(contents)).SOPInstanceUID: contents for contents in files}
    references = archive.instances(study, Query())
    assert {reference.instance for reference in references} == set(expected)
    for reference in references:
        fetched = dcmread(BytesIO(archive.fetch(reference)))
        sent = dcmread(BytesIO(expected[reference.instance]))
        assert fetched.PixelData == sent.PixelData
        assert fetched.PatientID == sent.PatientID
        assert fetched.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


def test_what_is_not_there_is_an_error_of_a_family(archive: Archive) -> None:
    with pytest.raises(FedError):
        archive.fetch(InstanceRef(study="1.2.3", series="1.2.3.4", instance="1.2.3.4.5"))


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_nobody_listening_may_pass(served: Served, way: str) -> None:
    port = free_port()
    gone = {"url": f"http://127.0.0.1:{port}/dicom-web"} if way == "dicomweb" else {"port": port}
    with opened_archive(served.table(way, **gone), served.folder) as archive, pytest.raises(ArchiveBusyError):
        list(archive.studies(Query()))


def test_wrong_credentials_are_the_key_holders_business(served: Served) -> None:
    table = served.table("dicomweb", user="somebody")
    with opened_archive(table, served.folder) as archive, pytest.raises(TrustError, match="credentials"):
        list(archive.studies(Query()))


def test_a_password_that_others_can_read_is_not_used(served: Served, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o644)
    table = served.table("dicomweb", password_file=str(tmp_path / "password"))
    with pytest.raises(TrustError), opened_archive(table, served.folder):
        pass


def test_a_taken_port_for_c_move_is_the_operators_business(served: Served) -> None:
    with ExitStack() as stack:
        stack.enter_context(opened_archive(served.table("move"), served.folder))
        with pytest.raises(MachineError, match="can't be listened on"):
            stack.enter_context(opened_archive(served.table("move"), served.folder))
