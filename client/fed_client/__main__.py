"""`fed-client`, also as `python -m fed_client`."""

from fed_common.loading import loaded


def main() -> None:
    """Run the command line."""
    loaded("fed_client.cli:main")()


if __name__ == "__main__":
    main()
