"""A patient leaves: their pictures go, nobody trains on them again, and what was spent stays spent."""
