"""Whatever is wrong, a person reads one clear line and the process ends with the code of who must act."""

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.end_to_end.processes import SCENARIO, edited, federation, run, stop, wait_until

from fed_sim.consortium import Consortium, found_consortium
from fed_sim.phantoms import write_phantoms


@pytest.fixture
def consortium(tmp_path: Path, hospitals: Path) -> Consortium:
    """A federation whose hospitals are copies that a test may spoil."""
    copies = tmp_path / "hospitals"
    shutil.copytree(hospitals, copies)
    return found_consortium(tmp_path / "consortium", hospitals=copies, scenario=SCENARIO)


def one_line(ended: subprocess.CompletedProcess[str], program: str) -> str:
    """Return the error; log lines before it, which begin with the time, are no errors."""
    errors = [line for line in ended.stderr.splitlines() if line.startswith(program)]
    assert len(errors) == 1 and "Traceback" not in ended.stderr, ended.stderr
    return errors[0]


def empty_folder(images: Path) -> None:
    shutil.rmtree(images)
    images.mkdir()


def only_one_class(images: Path) -> None:
    labels = images.parent / "labels.csv"
    labels.write_text(labels.read_text().replace(",lesion", ",normal"))


def an_unknown_class(images: Path) -> None:
    labels = images.parent / "labels.csv"
    labels.write_text(labels.read_text().replace(",lesion", ",tumour"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(empty_folder, "images"), (only_one_class, "lesion"), (an_unknown_class, "its label can't be used")],
)
def test_data_that_teach_nothing_are_named(
    consortium: Consortium, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(tmp_path / "hospitals/hospital-1/images")
    ended = run("fed_client", "start", "--config", consortium.site_file(consortium.sites[0]))
    assert (ended.returncode, says in one_line(ended, "fed-client")) == (3, True)


@pytest.mark.parametrize(
    ("old", "new", "exit_code", "says"),
    [
        ("min_patients", "min_patient", 2, "did you mean 'min_patients'"),
        ("epsilon = 8.0", "epsilon = -1.0", 2, "policy.epsilon must be in (0, 1000]"),
        ("epsilon = 8.0", "epsilon = nan", 2, "policy.epsilon"),
        ("../keys/ca.crt", "../keys/none.crt", 2, "none.crt"),
        ("https://", "http://", 2, "https://"),
        ("../keys/hospital-1/identity.key", "../keys/ca.crt", 5, "ca.crt"),
        ("../task.toml", "../nothing.toml", 2, "nothing.toml: can't be read"),
    ],
)
def test_a_wrong_site_file_is_one_line(
    consortium: Consortium, old: str, new: str, exit_code: int, says: str
) -> None:
    path = consortium.site_file(consortium.sites[0])
    edited(path, old, new)
    ended = run("fed_client", "start", "--config", path)
    assert (ended.returncode, says in one_line(ended, "fed-client")) == (exit_code, True), ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "exit_code", "says"),
    [
        ("sampling_rate", "samplingrate", 2, "did you mean 'sampling_rate'"),
        ("rounds = 3", "rounds = 0", 2, "rounds"),
        ("delta = 1e-05", "delta = 0.1", 2, "privacy.delta"),
        ("noise_multiplier = 4.0\n\n[evaluation]", "noise_multiplier = 0.5\n\n[evaluation]", 2, "allows 8"),
        ("sites = 2", "sites = 4", 2, "quorum.sites must be in [1, 3]"),
        ("keys/server/tls.key", "keys/server/identity.key", 2, "identity.key"),
    ],
)
def test_a_wrong_federation_file_is_one_line(
    consortium: Consortium, old: str, new: str, exit_code: int, says: str
) -> None:
    edited(consortium.federation_file, old, new)
    ended = run("fed_server", "start", "--config", consortium.federation_file)
    assert (ended.returncode, says in one_line(ended, "fed-server")) == (exit_code, True), ended.stderr


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for package, program in (("fed_client", "fed-client"), ("fed_server", "fed-server")):
        ended = run(package, "start", "--config", tmp_path / "none.toml")
        assert ended.returncode == 2
        assert "none.toml: can't be read (No such file or directory)" in one_line(ended, program)


def test_a_taken_port_is_one_line(consortium: Consortium) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edited(consortium.federation_file, "port = 8443", f"port = {port}")
        ended = run("fed_server", "start", "--config", consortium.federation_file)
        demo = run("fed_sim", "demo", "--port", str(port), "--out", consortium.root.parent / "demo")
    assert (ended.returncode, str(port) in one_line(ended, "fed-server")) == (6, True)
    assert (demo.returncode, f"port {port} is taken" in one_line(demo, "fed-sim")) == (6, True)


def test_an_unreadable_image_is_counted_and_not_named(consortium: Consortium, tmp_path: Path) -> None:
    images = sorted((tmp_path / "hospitals/hospital-1/images").rglob("*.dcm"))
    images[3].write_bytes(b"no DICOM file")
    config = consortium.site_file(consortium.sites[0])
    with federation(tmp_path / "other", tmp_path / "hospitals") as started:
        site = started.site(started.consortium.sites[0])
        log = started.site_log(started.consortium.sites[0])
        wait_until(lambda: "is ready" in log.read_text(), what="the site is ready")
        assert stop(site) == 0
        text = log.read_text()
    assert "left out: 1 x damaged, or no DICOM file" in text
    assert images[3].name not in text and config.name not in text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("../keys/ca.crt", "../../other/keys/ca.crt", "not issued by the consortium's CA"),
        (
            "../keys/hospital-1/node.key",
            "../../other/keys/hospital-1/node.key",
            "not issued by the consortium's CA",
        ),
    ],
)
def test_a_stranger_on_either_side_is_refused(
    tmp_path: Path, hospitals: Path, old: str, new: str, says: str
) -> None:
    found_consortium(tmp_path / "other", hospitals=hospitals, scenario=SCENARIO)
    with federation(tmp_path / "consortium", hospitals) as started:
        started.server()
        name = started.consortium.sites[0]
        edited(started.consortium.site_file(name), old, new)
        site = started.site(name)
        assert site.wait(timeout=120) == 5
        assert says in started.site_log(name).read_text()
        assert started.charges(name) == []


def test_a_folder_that_is_not_a_demo_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    ended = run("fed_sim", "demo", "--out", tmp_path, "--port", "0")
    assert ended.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_hospitals_are_never_written_over_each_other(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "out", sites=1, seed=1, patients=(5,), test_patients=5)
    ended = run("fed_sim", "phantoms", "--out", tmp_path / "out")
    assert (ended.returncode, "new or empty" in one_line(ended, "fed-sim")) == (2, True)
