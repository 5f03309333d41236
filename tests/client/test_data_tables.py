"""What is printed about a data set is what was found, whatever a file made its reader say."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from tests.client.dataset.folders import Folder

from fed_client.data_tables import show_names, show_version
from fed_client.dataset.manifest import Count
from fed_client.dataset.versions import FileRecord, Names
from fed_common.names import Digest


def test_a_reason_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(4):
        folder.add(number)
    version = folder.register()
    manifest = replace(version.manifest, quarantine=(Count(name="[/bold] is no reason", count=1),))
    output = StringIO()
    show_version(Console(file=output), replace(version, manifest=manifest))
    assert "[/bold] is no reason" in output.getvalue()


def test_a_reason_that_holds_for_many_frames_is_printed_once() -> None:
    file = FileRecord(name="a.dcm", digest=Digest(""), whole=False, reasons=("a copy",) * 18 + ("dark",))
    output = StringIO()
    names = Names(files=(file,), of_two_patients=(), near_copies=(), problems=())
    show_names(Console(file=output), names)
    assert output.getvalue() == "0  a.dcm: a copy (18 frames)\n0  a.dcm: dark\n"
