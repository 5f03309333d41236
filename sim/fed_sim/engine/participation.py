"""Says who trains in which round: public chance, a function of seed and round, of which nothing is kept."""

from collections import Counter

import numpy as np

from fed_common.seeds import stream
from fed_sim.engine.scenario import VirtualTable


def sites_of_round(virtual: VirtualTable, number: int) -> list[int]:
    """Return the sites that train in round `number`, in ascending order."""
    rng = stream(virtual.seed, f"sites of round {number}")
    chosen: list[int] = np.sort(
        rng.choice(virtual.sites, size=virtual.sites_per_round, replace=False)
    ).tolist()
    return chosen


def rounds_of_sites(virtual: VirtualTable, *, rounds: int) -> Counter[int]:
    """Return in how many of the first `rounds` each site trains, of those that train at all."""
    return Counter(site for number in range(1, rounds + 1) for site in sites_of_round(virtual, number))


def most_rounds(virtual: VirtualTable, *, rounds: int) -> int:
    """Return in how many rounds the site trains that trains most often: what noise must be calibrated to."""
    return max(rounds_of_sites(virtual, rounds=rounds).values())
