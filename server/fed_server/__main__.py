"""Lets `python -m fed_server` do what `fed-server` does."""

from fed_server.cli import main

main()
