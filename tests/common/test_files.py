"""After a crash or on a full disk there is the old file or the new one, and one owner per folder."""

import threading
from pathlib import Path

import pytest
from tests.full_disk import disk_full_after

from fed_common.errors import MachineError
from fed_common.files import append_durably, exclusive, locked, write_atomically


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_on_a_full_disk_the_old_file_stays_and_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with disk_full_after(100), pytest.raises(MachineError, match="can't be written"):
        write_atomically(path, bytes(1000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 3])
def test_a_line_that_does_not_fit_is_not_begun(tmp_path: Path, room: int) -> None:
    path = tmp_path / "file"
    append_durably(path, b"first\n")
    with disk_full_after(6 + room), pytest.raises(MachineError):
        append_durably(path, b"second\n")
    append_durably(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_a_path_through_a_file_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (write_atomically, append_durably):
        with pytest.raises(MachineError):
            write(tmp_path / "file" / "below", b"")
    with pytest.raises(MachineError), exclusive(tmp_path / "file" / "below", owner="test"):
        pass


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            exclusive(tmp_path, owner="fed-client"),
            pytest.raises(MachineError, match="another fed-client"),
            exclusive(tmp_path, owner="fed-client"),
        ):
            pass


def test_a_held_file_is_waited_for(tmp_path: Path) -> None:
    path, order = tmp_path / "new" / "lock", list[str]()

    def other() -> None:
        with locked(path):
            order.append("other")

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_a_lock_that_cannot_be_made_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError), locked(tmp_path / "file" / "lock"):
        pass
