"""Reads what the Dockerfile and compose.yaml say, as shell commands for a machine without containers."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
COMPOSE_FILE = ROOT / "docker/compose.yaml"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of compose.yaml: its command, and its volumes as (source, target, read-only)."""

    name: str
    user: str
    command: tuple[str, ...]
    volumes: tuple[tuple[str, str, bool], ...]


def build_script(context: str) -> str:
    """Return the Dockerfile's steps; a stage is a subshell, and what it copies from another is there already."""
    lines = ["set -eux"]
    steps = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    for step in steps:
        word, _, rest = step.partition(" ")
        match word:
            case "FROM":
                lines.append(") && (" if "(" in lines else "(")
            case "WORKDIR":
                lines.append(f"mkdir -p {rest} && cd {rest}")
            case "COPY" if not rest.startswith("--from"):
                *sources, target = rest.split()
                lines += [f"cp -R {shlex.quote(f'{context}/{source}')} {target}" for source in sources]
            case "ENV":
                lines.append(f"export {rest}")
            case "RUN":
                lines.append(rest)
    return "\n".join([*lines, ")", ""])


def image_environment() -> str:
    """Return the commands that set what every process in the image finds set."""
    final = DOCKERFILE.read_text().replace("\\\n", " ").split("\nFROM ")[-1]
    return "\n".join(f"export {line[4:]}" for line in final.splitlines() if line.startswith("ENV "))


def services() -> Mapping[str, Service]:
    """Return the services by name."""
    described = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    return {
        name: Service(
            name=name,
            user=service.get("user", "fed"),
            command=tuple(service["command"]),
            volumes=tuple(_volume(volume) for volume in service["volumes"]),
        )
        for name, service in described.items()
    }


def _volume(text: str) -> tuple[str, str, bool]:
    source, target, *options = text.split(":")
    return source, target, options == ["ro"]
