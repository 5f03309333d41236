"""A throw-away view of this machine: everything can be written, nothing stays. Needs root and Linux."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docker.container_files import ROOT

# chroot, useradd and ip aren't in every user's path.
_PATH = "PATH=$PATH:/usr/sbin:/sbin\n"
# An overlay in a mount namespace of its own: it is gone with the process that holds it.
_OPEN = """
set -e
mount -t tmpfs -o size=8g tmpfs "$0"
mkdir "$0/written" "$0/work" "$0/root"
layers="lowerdir=/,upperdir=$0/written,workdir=$0/work"
mount -t overlay overlay -o "$layers" "$0/root" 2>/dev/null || {
  # A kernel without overlays: in user space, by a process that ends with the one that holds the room.
  setpriv --pdeathsig KILL fuse-overlayfs -f -o "$layers" "$0/root" >/dev/null 2>&1 &
  until mountpoint -q "$0/root"; do kill -0 $!; sleep 0.1; done
}
mount --rbind /dev "$0/root/dev"
mount -t proc proc "$0/root/proc"
mount -t tmpfs tmpfs "$0/root/tmp"
# The project itself may lie below /tmp.
mkdir -p "$0/root$1"
mount --bind "$1" "$0/root$1"
mount -o remount,bind,ro "$0/root$1"
exec chroot "$0/root" sh -c 'echo open; exec sleep infinity'
"""


@dataclass(frozen=True, kw_only=True)
class Room:
    """The open room, known by the process that holds it."""

    holder: int

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run `script` in the room as root; standard error is part of the output."""
        enter = ["nsenter", f"--target={self.holder}", "--mount", "--root", "--wd"]
        return subprocess.run(
            [*enter, "sh", "-c", _PATH + script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@contextmanager
def clean_room(folder: Path) -> Iterator[Room | None]:
    """Yield a room whose files live below the empty `folder`, None where this machine can't make one."""
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _PATH + _OPEN, str(folder), str(ROOT)],
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            is_open = holder.stdout is not None and holder.stdout.readline() == "open\n"
            room = Room(holder=holder.pid) if is_open else None
            if room is not None:
                _let_everyone_use_python(room)
            yield room
        finally:
            holder.kill()


def _let_everyone_use_python(room: Room) -> None:
    # This machine's interpreter may lie in a folder of root's; in an image it does not.
    for folder in Path(sys.base_prefix).parents:
        room.run(f"chmod a+x '{folder}'")
