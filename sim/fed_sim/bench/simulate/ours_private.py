"""Ours with privacy: patients sampled and clipped, noise from AES, a ledger for each site."""

from fed_sim.bench.simulate.ours import run

if __name__ == "__main__":
    run(private=True)
