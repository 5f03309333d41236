"""Which code a site runs: without it, an audit of one code could vouch for a model made by another."""

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from fed_common.errors import MachineError
from fed_common.names import Digest

# All that touches a patient's images or the budget. The server's and the simulation's code see neither.
SITE_PACKAGES = ("fed_client", "fed_common")


@cache
def code_digest(packages: tuple[str, ...] = SITE_PACKAGES) -> Digest:
    """Identify the installed `packages` by all their files, whatever folder they are installed in.

    It is kept: files that change while the process runs are not the ones it runs.

    Raises:
        MachineError: a package isn't installed as files.
    """
    digest = sha256()
    for package in packages:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MachineError(f"{package}: is not installed as files, so its code has no digest")
        root = Path(spec.origin).parent
        files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for name, path in sorted((path.relative_to(root.parent).as_posix(), path) for path in files):
            content = path.read_bytes()
            # The lengths keep names and contents apart.
            digest.update(b"%d %s %d " % (len(name), name.encode(), len(content)))
            digest.update(content)
    return Digest(digest.hexdigest())
