"""Keeps every trained cell on disk the moment it is there, so that no kill can cost more than one.

A line of SQLite for each cell, synced before the next begins (`PRAGMA synchronous` is FULL by default).
"""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from fed_common.errors import ConfigError, MachineError
from fed_common.names import Digest
from fed_sim.experiments.cell import Cell, Measured, PatientScores

_TABLE = """
CREATE TABLE IF NOT EXISTS cells (
    study TEXT, arm TEXT, method TEXT, epsilon REAL, hospital TEXT, seed INTEGER,
    terms TEXT NOT NULL, personal INTEGER NOT NULL, seconds REAL NOT NULL, code TEXT NOT NULL,
    scores TEXT NOT NULL,
    PRIMARY KEY (study, arm, method, epsilon, hospital, seed)
)
"""
_KEYS = ("study", "arm", "method", "epsilon", "hospital", "seed")

# SQLite has infinity, but its JSON and CSV don't.
_NO_PRIVACY = -1.0


class Store:
    """All cells of one folder."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Yield the store at `path`, a new one if there is none.

        Raises:
            MachineError: the disk refuses.
            ConfigError: the file is something else.
        """
        try:
            connection = sqlite3.connect(path)
        except sqlite3.Error as error:
            raise MachineError(f"{path}: can't be opened ({error})") from error
        try:
            with connection:
                connection.execute(_TABLE)
            yield cls(connection)
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path}: no results of `fed-sim compare` or `sweep` ({error})") from error
        finally:
            connection.close()

    def has(self, cell: Cell, *, terms: Digest) -> bool:
        """Tell whether the cell was trained, under these very terms.

        Raises:
            ConfigError: it was trained under others; figures of both in one table would mislead.
        """
        where = " AND ".join(f"{key} = ?" for key in _KEYS)
        row = self._connection.execute(f"SELECT terms FROM cells WHERE {where}", _key(cell)).fetchone()
        if row is not None and row[0] != terms:
            raise ConfigError(f"{cell}: was trained under other settings; choose another folder for these")
        return row is not None

    def add(self, measured: Measured, *, terms: Digest) -> None:
        """Put one more cell on disk."""
        values = (
            *_key(measured.cell),
            terms,
            int(measured.personal),
            measured.seconds,
            measured.commit,
            json.dumps([_scores(scores) for scores in measured.scores]),
        )
        with self._connection:
            self._connection.execute(f"INSERT INTO cells VALUES ({', '.join('?' * len(values))})", values)

    def __iter__(self) -> Iterator[Measured]:
        """Yield all cells in the order in which they were trained."""
        for row in self._connection.execute("SELECT * FROM cells ORDER BY rowid"):
            study, arm, method, epsilon, hospital, seed, _, personal, seconds, code, scores = row
            yield Measured(
                cell=Cell(
                    study=study,
                    arm=arm,
                    method=method,
                    epsilon=math.inf if epsilon == _NO_PRIVACY else epsilon,
                    hospital=hospital,
                    seed=seed,
                ),
                personal=bool(personal),
                scores=tuple(
                    PatientScores(
                        where=part["where"],
                        patients=part["patients"],
                        scores_M=np.array(part["scores"], dtype=np.float64),
                        positive_M=np.array(part["positive"], dtype=bool),
                        right_M=np.array(part["right"], dtype=np.float64),
                    )
                    for part in json.loads(scores)
                ),
                seconds=seconds,
                commit=code,
            )


def _key(cell: Cell) -> tuple[str | float, ...]:
    values = asdict(cell) | {"epsilon": cell.epsilon if cell.private else _NO_PRIVACY}
    return tuple(values[key] for key in _KEYS)


def _scores(scores: PatientScores) -> dict[str, object]:
    return {
        "where": scores.where,
        "patients": scores.patients,
        # Whole: a score near 0 is rounded to that of another patient, and the two are tied.
        "scores": scores.scores_M.tolist(),
        "positive": scores.positive_M.astype(int).tolist(),
        "right": scores.right_M.round(6).tolist(),
    }
