"""Reads the Dockerfile and compose.yaml as shell commands, for a machine without a container engine."""

import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text().replace("\\\n", " ")
COMPOSE_FILE = ROOT / "docker/compose.yaml"


def build_script() -> str:
    """Return the Dockerfile's steps; each stage is a subshell, and what it copies from another is there."""
    return "set -eux\n" + "".join(f"(\n{_stage_script(stage)}\n)\n" for stage in _stages())


def service_script(name: str) -> str:
    """Return what starts a service as compose.yaml describes it: user, capabilities, volumes, read-only root.

    Networks and limits are left out. Named volumes are the folders below /volumes.
    """
    service = yaml.safe_load(COMPOSE_FILE.read_text())["services"][name]
    user = service.get("user", "fed")
    caps = ",".join(["-all", *(f"+{cap.lower()}" for cap in service.get("cap_add", []))])
    privileges = f"--reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set={caps}"
    steps = [
        "set -e",
        *(_mount(*volume.split(":")) for volume in service["volumes"]),
        "mount -t tmpfs tmpfs /tmp",
        "mount -o remount,bind,ro /",
        *_environment(),
        "cd /fed",
        f"exec setpriv {privileges} {shlex.join(service['command'])}",
    ]
    return f"unshare --mount sh -c {shlex.quote(chr(10).join(steps))}"


def _stages() -> list[list[str]]:
    stages = DOCKERFILE.split("\nFROM ")[1:]
    return [stage.splitlines()[1:] for stage in stages]


def _environment() -> list[str]:
    return [f"export {line[4:]}" for line in _stages()[-1] if line.startswith("ENV ")]


def _stage_script(stage: list[str]) -> str:
    return "\n".join(filter(None, (_as_shell(*line.partition(" ")[::2]) for line in stage)))


def _as_shell(instruction: str, rest: str) -> str:
    match instruction:
        case "RUN":
            return rest
        case "ENV":
            return f"export {rest}"
        case "WORKDIR":
            return f"mkdir -p {rest}; cd {rest}"
        case "COPY" if not rest.startswith("--from"):
            *sources, target = rest.split()
            return "\n".join(f"cp -R {shlex.quote(str(ROOT / source))} {target}" for source in sources)
        case _:
            return ""


def _mount(source: str, target: str, mode: str = "rw") -> str:
    """Return what mounts a volume; a new one takes over the owner of its mount point, as in Docker."""
    folder = (
        shlex.quote(str(COMPOSE_FILE.parent / source)) if source.startswith(".") else f"/volumes/{source}"
    )
    return (
        f"mkdir -p {target}; test -d {folder} || "
        f"{{ mkdir -p {folder}; chown --reference={target} {folder}; }}; "
        f"mount --bind {folder} {target}; mount -o remount,bind,{mode} {target}"
    )
