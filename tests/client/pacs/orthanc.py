"""A real Orthanc on this machine, with its DICOMweb plugin, for as long as a test lasts."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.ports import free_port

AMPLE_S = 60.0
PROGRAM = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
PLUGIN = next(Path("/usr").glob("share/orthanc/plugins/libOrthancDicomWeb.so*"), None)
MISSING = PROGRAM is None or PLUGIN is None
USER, PASSWORD = "hospital", "correct horse"


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """Where it listens."""

    http_port: int
    dicom_port: int
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def upload(self, contents: bytes) -> None:
        self.client.post("/instances", content=contents).raise_for_status()

    def num_instances(self) -> int:
        return int(self.client.get("/statistics").raise_for_status().json()["CountInstances"])


@contextmanager
def running_orthanc(folder: Path, *, receive_port: int = 11113) -> Iterator[Orthanc]:
    """Run Orthanc with its data in `folder`; it may send to us by C-MOVE on `receive_port`."""
    http_port, dicom_port = free_port(), free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "PACS",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomModalities": {"us": ["FED-CLIENT", "127.0.0.1", receive_port]},
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomScpTimeout": 30,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = (folder / "orthanc.log").open("wb")
    with (
        log,
        subprocess.Popen([str(PROGRAM), str(folder / "orthanc.json")], stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{http_port}", auth=(USER, PASSWORD), timeout=30) as client,
    ):
        try:
            _wait(client, process)
            yield Orthanc(http_port=http_port, dicom_port=dicom_port, client=client)
        finally:
            process.terminate()
            process.wait(timeout=AMPLE_S)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + AMPLE_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "Orthanc doesn't start"
        try:
            client.get("/system").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
