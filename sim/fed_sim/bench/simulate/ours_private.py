"""Ours with privacy: patients sampled and clipped, noise from AES, a ledger for each site."""

from fed_common.loading import loaded

if __name__ == "__main__":
    loaded("fed_sim.bench.simulate.ours:run")(private=True)
