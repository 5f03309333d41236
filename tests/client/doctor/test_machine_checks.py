"""The doctor's view of the machine follows what the machine says, also inside a container."""

from pathlib import Path

import pytest

from fed_client.doctor.machine import available_memory_bytes, check_machine

MEMINFO = "MemTotal:       8000000 kB\nMemAvailable:   4000000 kB\n"


def meminfo(tmp_path: Path, text: str = MEMINFO) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(text)
    return path


def container(tmp_path: Path, *, limit: str, used: int) -> Path:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    return tmp_path


def test_memory_is_what_is_available_not_what_is_built_in(tmp_path: Path) -> None:
    assert available_memory_bytes(meminfo(tmp_path), tmp_path / "no-cgroup") == 4_096_000_000


@pytest.mark.parametrize(("limit", "expected"), [("3000", 2000), ("900", 0), ("max", 4_096_000_000)])
def test_a_container_has_no_more_than_its_limit(tmp_path: Path, limit: str, expected: int) -> None:
    found = available_memory_bytes(meminfo(tmp_path), container(tmp_path, limit=limit, used=1000))
    assert found == expected


def test_a_system_that_does_not_tell_its_memory_is_no_error(tmp_path: Path) -> None:
    assert available_memory_bytes(meminfo(tmp_path, "nonsense"), tmp_path) is None


def test_images_beyond_the_disk_fail_and_images_beyond_the_memory_warn(tmp_path: Path) -> None:
    small = {
        check.subject: check.status
        for check in check_machine(tmp_path / "not-there-yet", image_bytes=0, threads=1)
    }
    large = {check.subject: check.status for check in check_machine(tmp_path, image_bytes=1 << 60, threads=1)}
    assert small.keys() == {"disk", "memory", "cores", "GPU"}
    assert (large["disk"], large["memory"]) == ("failure", "warning")
