"""No damaged file escapes the pool; the long run is `python -m tests.client.reading.fuzz`."""

import pytest
from tests.client.reading.fuzz import fuzz


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_and_nothing_else_happens() -> None:
    summary = fuzz(1500, seed=1)
    assert summary.files == 1500
    assert summary.read + summary.refused == 1500
    assert summary.read > 100, "too much damage teaches nothing about reading"
    assert summary.parent_growth_mb < 200
