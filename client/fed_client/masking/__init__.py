"""A hospital's part in masked sums: what it refuses, what it tells, and that it masks an update only once."""
