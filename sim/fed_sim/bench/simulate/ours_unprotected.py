"""Ours without privacy."""

from fed_sim.bench.simulate.ours import run

if __name__ == "__main__":
    run(private=False)
