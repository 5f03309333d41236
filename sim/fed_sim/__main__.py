"""Lets `python -m fed_sim` do what `fed-sim` does."""

from fed_sim.cli import main

main()
