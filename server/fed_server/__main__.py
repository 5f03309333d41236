"""`fed-server`, also as `python -m fed_server`."""

from fed_common.loading import loaded


def main() -> None:
    """Run the command line."""
    loaded("fed_server.cli:main")()


if __name__ == "__main__":
    main()
