"""Hospitals for all end-to-end tests, drawn once."""

from pathlib import Path

import pytest

from fed_sim.phantoms import write_phantoms


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "hospitals"
    write_phantoms(folder, sites=3, seed=1, patients=(40, 40, 60), test_patients=30)
    return folder
