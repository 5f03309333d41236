"""Reads hostile files in a process of its own: it knows no secret, and what it says is checked."""
