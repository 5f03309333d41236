"""`fed-sim`, also as `python -m fed_sim`."""

from fed_common.loading import loaded


def main() -> None:
    """Run the command line."""
    loaded("fed_sim.cli:main")()


if __name__ == "__main__":
    main()
