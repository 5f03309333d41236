"""Lets `python -m fed_client` do what `fed-client` does."""

from fed_client.cli import main

main()
