"""Ours without privacy."""

from fed_common.loading import loaded

if __name__ == "__main__":
    loaded("fed_sim.bench.simulate.ours:run")(private=False)
