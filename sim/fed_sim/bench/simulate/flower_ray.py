"""Flower's simulation, whose engine is Ray, as its quick start for PyTorch has it; one CPU for each site."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fed_sim.bench.simulate.workload import IMAGES, RoundClock, Sites, seed_cnn, train_one_pass


def main() -> None:
    """Run the rounds that the command line asks for."""
    asked = Sites.asked_for()
    client, server = ClientApp(), ServerApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        model = seed_cnn()
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        train_one_pass(model, *asked.of(int(context.node_config["partition-id"])))
        answer = RecordDict()
        answer["arrays"] = ArrayRecord(model.state_dict())
        answer["metrics"] = MetricRecord({"num-examples": IMAGES})
        return Message(content=answer, reply_to=message)

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        clock = RoundClock()

        def told(number: int, arrays: ArrayRecord) -> None:
            if number:  # 0: before the first round
                clock.round_done()

        FedAvg(
            fraction_train=asked.training / asked.sites,
            fraction_evaluate=0.0,
            min_train_nodes=asked.training,
            min_available_nodes=asked.sites,
        ).start(
            grid=grid,
            initial_arrays=ArrayRecord(seed_cnn().state_dict()),
            num_rounds=asked.rounds,
            evaluate_fn=told,
        )

    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=asked.sites,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    main()
