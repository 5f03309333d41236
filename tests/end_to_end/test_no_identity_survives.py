"""Of everything that identifies a person in real headers, nothing is anywhere in what a federation makes."""

import logging
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from tests.end_to_end.processes import SCENARIO
from tests.identity_search import SAMPLES, found_below, found_in, identifiers

from fed_client.config import load_site_config
from fed_client.opening import register_configured
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.simulation import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the collection of identifying headers isn't here"),
]

# What a picture is made of stays the phantom's; what may keep a file out is left behind.
_PIXEL_GROUPS = {0x0002, 0x0028, 0x7FE0}
_OWN = {"SOPClassUID", "RecognizableVisualFeatures"}


def graft(path: Path, header: Dataset, *, whole: bool) -> None:
    """Give a phantom's file all that the header says of a person; unless `whole`, ids stay apart."""
    file = dcmread(path)
    patient, instance = file.PatientID, file.SOPInstanceUID
    for element in header:
        if element.tag.group not in _PIXEL_GROUPS and element.keyword not in _OWN:
            file[element.tag] = deepcopy(element)  # an id set below must not grow in the header, too
    if not whole:
        file.PatientID = f"{header.get('PatientID', '')} {patient}"
        file.SOPInstanceUID = instance
    file.save_as(path)


@pytest.fixture
def identified(tmp_path: Path, hospitals: Path) -> Consortium:
    """A federation whose files name real headers' people, places, dates and UIDs."""
    copies = tmp_path / "hospitals"
    shutil.copytree(hospitals, copies)
    headers = [dcmread(path, stop_before_pixels=True) for path in sorted((SAMPLES / "files").iterdir())]
    for number, path in enumerate(sorted(copies.glob("hospital-*/images/**/*.dcm"))):
        graft(path, headers[number % len(headers)], whole=number < len(headers))
    return found_consortium(tmp_path / "consortium", hospitals=copies, scenario=SCENARIO)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom about values in the real headers
def test_nothing_that_identifies_is_in_cache_ledger_update_checkpoint_report_or_log(
    identified: Consortium, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = identifiers()
    planted = {value for _, value in found_below(tmp_path / "hospitals", wanted)}
    assert len(planted) > 100, "the search itself must find what is there"
    caplog.set_level(logging.DEBUG)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of every font
    folder, _ = simulate(identified, observer=lambda _: None)
    for site in identified.sites:
        config = load_site_config(identified.site_file(site))
        assert register_configured(config).manifest.images > 30, "the named patients were learnt from"
    made = {path.suffix for path in identified.root.rglob("*") if path.is_file()}
    assert {".safetensors", ".html", ".jsonl", ""} <= made
    assert (folder.path / "report.html").is_file()
    assert list(found_below(identified.root, wanted)) == []
    assert found_in(caplog.text.encode(), wanted) == set()
