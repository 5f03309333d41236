"""Rules that a few dishonest sites can't bend: without them, one hospital could move the model anywhere."""
