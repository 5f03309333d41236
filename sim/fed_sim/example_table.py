"""A table to try records with: scikit-learn's breast-cancer set, whose constants are public because it is."""

import csv
import json
from pathlib import Path

from fed_common.errors import ConfigError, MachineError


def write_example(folder: Path) -> tuple[Path, Path]:
    """Write records.csv and columns.toml into `folder`, which must be new or empty, and return their paths.

    Source: Street, Wolberg and Mangasarian, "Nuclear feature extraction for breast tumor diagnosis" (1993).

    Raises:
        ConfigError: there is something in the folder.
        MachineError: the disk refuses.
    """
    # Here, because no other command needs it.
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415

    found = load_breast_cancer()
    names = [str(name) for name in found.feature_names]
    constants = [
        f"{json.dumps(name)} = {{ mean = {mean:.6g}, spread = {spread:.6g} }}"
        for name, mean, spread in zip(names, found.data.mean(0), found.data.std(0), strict=True)
    ]
    table, columns = folder / "records.csv", folder / "columns.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: must be a new or empty folder")
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*names, "benign"])
            writer.writerows(
                [*map(float, row), label] for row, label in zip(found.data, found.target, strict=True)
            )
        columns.write_text(
            'name = "breast-cancer"\nlabel = "benign"\nvalues = ["1", "0"]\n'
            'classes = ["benign", "malignant"]\npositive = "malignant"\n\n[columns]\n'
            + "".join(f"{line}\n" for line in constants),
            encoding="utf-8",
        )
    except OSError as error:
        raise MachineError(f"{folder}: can't be written ({error.strerror})") from error
    return table, columns
