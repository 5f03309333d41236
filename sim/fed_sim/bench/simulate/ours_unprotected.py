"""Ours without privacy."""

from fed_common.loading import loaded
from fed_sim.engine.loops import UNPROTECTED

if __name__ == "__main__":
    loaded("fed_sim.bench.simulate.ours:run", loops=UNPROTECTED)(private=False)
