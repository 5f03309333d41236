"""Searches files byte by byte for what identifies a person, in every encoding that a program may write."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "deid_samples"

_STANDARD_UIDS = "1.2.840.10008."
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")


def identifiers() -> set[str]:
    """Return the identifying values of the samples' headers that can't occur by chance.

    Left out are UIDs that the standard itself defines, digits alone if they are fewer than 8, words of fewer
    than 6 letters, and a word that any program says.
    """
    with (SAMPLES / "identifiers_in_header.csv").open(newline="", encoding="utf-8") as file:
        values = {row["value"].strip() for row in csv.DictReader(file)}
    return {value for value in values if _is_telling(value)}


def _is_telling(value: str) -> bool:
    if value.startswith(_STANDARD_UIDS) or value == "DEFAULT":
        return False
    return len(value) >= (8 if value.replace(".", "").isdigit() else 6)


def found_in(contents: bytes, values: Iterable[str]) -> set[str]:
    """Return the values that occur in `contents`, in upper or lower case, in any of the usual encodings."""
    found = set()
    for value in values:
        for spelling in {value, value.upper(), value.lower()}:
            for encoding in _ENCODINGS:
                try:
                    if spelling.encode(encoding) in contents:
                        found.add(value)
                except UnicodeEncodeError:
                    continue
    return found


def found_below(folder: Path, values: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files below `folder` in whose contents or name a value occurs."""
    wanted = set(values)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder)).encode()
        contents = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        for value in found_in(name + b"\n" + contents, wanted):
            yield path, value
