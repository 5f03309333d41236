"""The coordinator's part in masked sums: it carries what sites tell each other, and learns a sum."""
