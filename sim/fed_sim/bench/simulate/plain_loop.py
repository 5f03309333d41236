"""The plain loop that anybody would write: site after site, torch on two threads."""

import copy

import torch

from fed_sim.bench.simulate.workload import RoundClock, Sites, seed_cnn, train_one_pass


def main() -> None:
    """Run the rounds that the command line asks for."""
    torch.set_num_threads(2)
    asked = Sites.asked_for()
    model = seed_cnn()
    weights = copy.deepcopy(model.state_dict())
    clock = RoundClock()
    for _ in range(asked.rounds):
        total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        for site in range(asked.training):
            model.load_state_dict(weights)
            train_one_pass(model, *asked.of(site))
            for name, tensor in model.state_dict().items():
                total[name] += tensor
        weights = {name: tensor / asked.training for name, tensor in total.items()}
        clock.round_done()


if __name__ == "__main__":
    main()
