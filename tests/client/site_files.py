"""A hospital's site.toml and the files that it names, as its IT person would have written them."""

from pathlib import Path

import tomli_w
from tests.fakes import COORDINATOR_SIGNS, MODEL

from fed_common.key_files import make_private_folder, pem, write_private, write_site_keys
from fed_common.signing import SigningKey

USUAL: dict[str, dict[str, object]] = {
    "site": {
        "name": "north",
        "task": "task.toml",
        "identity": "keys/identity.key",
        "officer": "officer/officer.pub",
        "state": "state",
        "witness": "witness",
    },
    "server": {
        "address": "https://127.0.0.1:1",
        "ca": "ca.crt",
        "identity": "coordinator.pub",
        "node_key": "keys/node.key",
    },
    "data": {"images": "images", "labels": "labels.csv"},
    "policy": {"epsilon": 8.0, "allowed_models": [MODEL.fingerprint]},
}


def write_site(
    folder: Path, *, identity: SigningKey | None = None, size: int = 32, **changes: dict[str, object]
) -> Path:
    """Return a site.toml with its keys and its task beside it; the officer's key and signature are not there.

    `changes` are keys of its tables; a new identity is made unless one is given.
    """
    folder.mkdir(exist_ok=True)
    if identity is None:
        write_site_keys(folder / "keys")
    else:
        make_private_folder(folder / "keys")
        write_private(folder / "keys/identity.key", pem(identity.key))
    (folder / "task.toml").write_text(
        f'name = "chest"\nclasses = ["normal", "finding"]\npositive = "finding"\n[recipe]\nsize = {size}\n'
    )
    (folder / "coordinator.pub").write_bytes(COORDINATOR_SIGNS.pem)
    return write_tables(folder / "site.toml", **changes)


def write_tables(path: Path, **changes: dict[str, object]) -> Path:
    """Write the usual tables to `path`, with `changes` of their keys."""
    path.write_text(tomli_w.dumps({name: table | changes.get(name, {}) for name, table in USUAL.items()}))
    return path
