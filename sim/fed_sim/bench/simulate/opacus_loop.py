"""The plain loop with privacy, as Opacus' users write it: hooks, flat clipping, torch's noise."""

import torch
from opacus.grad_sample.utils import wrap_model
from opacus.optimizers import DPOptimizer
from torch.nn import functional

from fed_sim.bench.simulate.workload import BATCH, IMAGES, RATE, RoundClock, Sites, seed_cnn


def main() -> None:
    """Run the rounds that the command line asks for."""
    torch.set_num_threads(2)
    asked = Sites.asked_for()
    model = wrap_model(seed_cnn(), grad_sample_mode="hooks")
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    clock = RoundClock()
    for _ in range(asked.rounds):
        total = [torch.zeros_like(tensor) for tensor in weights]
        for site in range(asked.training):
            with torch.no_grad():
                for parameter, tensor in zip(model.parameters(), weights, strict=True):
                    parameter.copy_(tensor)
            _train(model, *asked.of(site))
            for summed, parameter in zip(total, model.parameters(), strict=True):
                summed.add_(parameter.detach())
        weights = [tensor / asked.training for tensor in total]
        clock.round_done()


def _train(model: torch.nn.Module, images_NHW: torch.Tensor, labels_N: torch.Tensor) -> None:
    """Take as many steps as the plain loop, each of a Poisson sample of half the images."""
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=BATCH,
    )
    for _ in range(IMAGES // BATCH):
        index_N = torch.nonzero(torch.rand(len(labels_N)) < BATCH / IMAGES)[:, 0]
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(images_NHW[index_N]), labels_N[index_N]))
        optimizer.step()


if __name__ == "__main__":
    main()
