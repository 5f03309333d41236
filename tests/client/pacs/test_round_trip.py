"""From a real archive into the folder, killed in the middle: nothing is lost, nothing comes twice."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import tomli_w
from pydicom import dcmread
from tests.client.pacs.orthanc import MISSING, PASSWORD, USER, Orthanc, running_orthanc
from tests.client.pacs.studies import studies
from tests.end_to_end.processes import SCENARIO

from fed_sim.consortium import found_consortium
from fed_sim.hospitals import PUBLIC_TEST
from fed_sim.phantoms import write_phantoms

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING, reason="orthanc and orthanc-dicomweb are not installed"),
]
AMPLE_S = 240.0
NUM_STUDIES, NUM_OVER_DIMSE = 200, 40
FILES = [contents for _, files in studies(NUM_STUDIES) for contents in files]
FILES_OVER_DIMSE = [contents for _, files in studies(NUM_OVER_DIMSE, modality="DX") for contents in files]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), receive_port=11113) as archive:
        for contents in FILES + FILES_OVER_DIMSE:
            archive.upload(contents)
        yield archive


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    hospitals = tmp_path / "hospitals"
    write_phantoms(hospitals, sites=2, seed=1, patients=(6, 6), test_patients=6)
    assert (hospitals / PUBLIC_TEST).is_dir()
    consortium = found_consortium(tmp_path / "consortium", hospitals=hospitals, scenario=SCENARIO)
    return consortium.site_file(consortium.sites[0])


def with_pacs(site_file: Path, **table: object) -> Path:
    with site_file.open("a") as file:
        file.write("\n" + tomli_w.dumps({"pacs": table}))
    return site_file


def command(site_file: Path, out: Path, *options: str) -> list[str]:
    pull = [sys.executable, "-m", "fed_client", "data", "pull", "--config", str(site_file), "--out", str(out)]
    return [*pull, "--json", *options]


def killed_in_the_middle(arguments: list[str], out: Path, at: int) -> int:
    """Kill -9 the pull when at least `at` files are there, and return how many are."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + AMPLE_S
        while len(list(out.rglob("*.dcm"))) < at:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    return len(list(out.rglob("*.dcm")))


def finished(arguments: list[str]) -> dict[str, int]:
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=AMPLE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    last: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    return last


def all_are_there(out: Path, expected: list[bytes]) -> None:
    found = {dcmread(path).SOPInstanceUID: dcmread(path).PixelData for path in out.rglob("*.dcm")}
    sent = {
        dcmread(BytesIO(contents)).SOPInstanceUID: dcmread(BytesIO(contents)).PixelData
        for contents in expected
    }
    assert found == sent
    assert len(list(out.rglob("*.dcm"))) == len(expected)


def test_two_hundred_studies_survive_a_kill_over_dicomweb(
    orthanc: Orthanc, site_file: Path, tmp_path: Path
) -> None:
    password = site_file.parent / "pacs.password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    with_pacs(site_file, url=orthanc.url, user=USER, password_file="pacs.password")
    arguments = command(site_file, tmp_path / "pulled", "--modality", "CR")
    before = killed_in_the_middle(arguments, tmp_path / "pulled", at=len(FILES) // 2)
    last = finished(arguments)
    all_are_there(tmp_path / "pulled", FILES)
    assert last["studies_done"] == NUM_STUDIES
    assert before < len(FILES) and last["fetched"] == len(FILES) - before


@pytest.mark.parametrize("method", ["get", "move"])
def test_studies_survive_a_kill_over_dimse(
    orthanc: Orthanc, site_file: Path, tmp_path: Path, method: str
) -> None:
    with_pacs(site_file, host="127.0.0.1", port=orthanc.dicom_port, method=method)
    arguments = command(site_file, tmp_path / "pulled", "--modality", "DX")
    before = killed_in_the_middle(arguments, tmp_path / "pulled", at=len(FILES_OVER_DIMSE) // 3)
    last = finished(arguments)
    all_are_there(tmp_path / "pulled", FILES_OVER_DIMSE)
    assert last["fetched"] == len(FILES_OVER_DIMSE) - before


def test_a_dry_run_only_counts(orthanc: Orthanc, site_file: Path, tmp_path: Path) -> None:
    with_pacs(site_file, host="127.0.0.1", port=orthanc.dicom_port)
    assert finished(command(site_file, tmp_path / "pulled", "--modality", "DX", "--dry-run")) == {
        "studies": NUM_OVER_DIMSE
    }
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(
    ("options", "exit_code", "says"),
    [
        (["--modality", "MG"], 3, "nothing in the archive matches"),
        (["--from", "yesterday"], 2, "--from must look like 2024-01-31"),
        (["--studies", "/nowhere"], 2, "can't be read"),
    ],
)
def test_what_is_wrong_is_one_line(
    orthanc: Orthanc, site_file: Path, tmp_path: Path, options: list[str], exit_code: int, says: str
) -> None:
    with_pacs(site_file, host="127.0.0.1", port=orthanc.dicom_port)
    ended = subprocess.run(
        command(site_file, tmp_path / "pulled", *options), capture_output=True, text=True, check=False
    )
    errors = [line for line in ended.stderr.splitlines() if line.startswith("fed-client:")]
    assert (ended.returncode, len(errors), says in errors[0]) == (exit_code, 1, True), ended.stderr
